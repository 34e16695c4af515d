import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { WebSocket } from 'ws'
import { eventually } from '../fixtures/eventually.ts'
import {
  call,
  connectionsOf,
  MONITOR_KEY,
  openStream,
  PUBLISH_KEY,
  rawPeer,
  requestHead,
  startService,
  tokenOf
} from './harness.ts'

/** An application's session lookup that answers as the test says. */
let behave = (_request: http.IncomingMessage, response: http.ServerResponse): void =>
  void response.end('{"user":"u"}')
const application = http
  .createServer((request, response) => behave(request, response))
  .listen(0, '127.0.0.1')
await once(application, 'listening')
t.teardown(() => {
  application.closeAllConnections()
  application.close()
})
const origin = `http://127.0.0.1:${(application.address() as AddressInfo).port}`
const service = await startService(t, {
  env: { MAX_CONNECTIONS_PER_USER: '2', AUTH_SESSION_URL: `${origin}/me` }
})

const ticketOf = async (user: string, topics: string[] = []): Promise<string> =>
  (await call('POST', `${service.url}/v1/tickets`, { key: PUBLISH_KEY, body: { user, topics } }))
    .body.ticket

/** Opens each transport with a ticket, closes what opens, and returns how it ended. */
const WAYS = {
  stream: async (query: string) => {
    const { status, body } = await fetch(`${service.url}/v1/stream?${query}`)
    if (status !== 200) return String(status)
    let text = ''
    for await (const chunk of body!.pipeThrough(new TextDecoderStream())) {
      text += chunk
      if (/event: (\w+)\n.*\n\n/s.test(text)) break
    }
    return /event: (\w+)\n/.exec(text)![1]!
  },
  socket: async (query: string) => {
    const client = new WebSocket(`${service.url.replace('http', 'ws')}/v1/socket?${query}`)
    return new Promise<string>((resolve) => {
      client.on('unexpected-response', (_request, { statusCode }) => {
        resolve(String(statusCode))
        client.terminate()
      })
      client.on('error', () => {})
      client.on('message', (data) => {
        resolve(JSON.parse(String(data)).event)
        client.terminate()
      })
    })
  },
  poll: async (query: string) => {
    const { status } = await fetch(`${service.url}/v1/changes?wait=30&${query}`)
    return status === 200 ? 'ready' : status === 429 ? 'goodbye' : String(status)
  },
  inbox: async (query: string) => {
    const { status } = await fetch(`${service.url}/v1/inbox?${query}`)
    return status === 200 ? 'ready' : String(status)
  }
}

for (const [name, ask] of Object.entries(WAYS)) {
  t.test(
    `${name}: a ticket is used up by what it opens, not by a refusal, and opens once`,
    async (t) => {
      const user = `limited-${name}`
      const ticket = await ticketOf(user, ['a'])
      for (const path of ['stream', 'changes', 'inbox'])
        t.equal((await call('HEAD', `${service.url}/v1/${path}?ticket=${ticket}`)).status, 200)
      t.equal(await ask(`ticket=${ticket}&topics=b`), '403')
      t.equal(await ask(`ticket=${ticket}&topics=a%20b`), '422')
      if (name !== 'inbox') {
        const tabs = await Promise.all(
          [1, 2].map(() => openStream(t, `${service.url}/v1/stream`, { token: tokenOf(user) }))
        )
        for (const tab of tabs) await tab.until(({ event }) => event === 'ready')
        t.equal(await ask(`ticket=${ticket}`), 'goodbye', 'the limit refuses it')
        for (const tab of tabs) tab.close()
        await eventually(async () => (await connectionsOf(service)).active === 0)
      }
      const outcomes = await Promise.all(Array.from({ length: 10 }, () => ask(`ticket=${ticket}`)))
      t.equal(
        outcomes.filter((outcome) => outcome === 'ready').length,
        1,
        `of ten at the same moment one opens: ${outcomes}`
      )
      t.equal(await ask(`ticket=${ticket}`), '401', 'it is used up')
    }
  )
}

t.test('tickets refused by the connection limit are not used up', async (t) => {
  const tickets = await Promise.all(Array.from({ length: 8 }, () => ticketOf('burst')))
  const streams = await Promise.all(
    tickets.map((ticket) => openStream(t, `${service.url}/v1/stream?ticket=${ticket}`))
  )
  const firsts = await Promise.all(streams.map((stream) => stream.until(() => true)))
  const left = tickets.filter((_, n) => firsts[n]!.event !== 'ready')
  t.equal(left.length, 6)
  for (const stream of streams) stream.close()
  await eventually(async () => (await connectionsOf(service)).active === 0)
  for (const ticket of left) {
    t.equal(await WAYS.stream(`ticket=${ticket}`), 'ready')
    await eventually(async () => (await connectionsOf(service)).active === 0)
  }
})

t.test(
  'a client that leaves during authentication causes no error, whatever the outcome',
  async (t) => {
    const paths = ['stream', 'socket', 'changes', 'changes?wait=30', 'inbox', 'inbox/counts']
    const upgrade = [
      'connection: upgrade',
      'upgrade: websocket',
      'sec-websocket-version: 13',
      'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=='
    ]
    for (const answer of ['{"user":"u"}', 'nonsense', '']) {
      const held: http.ServerResponse[] = []
      behave = (_request, response) => void held.push(response)
      const peers = []
      for (const [n, path] of paths.entries()) {
        const more = [`cookie: sid=${n}${answer}`, ...(path === 'socket' ? upgrade : [])]
        peers.push(await rawPeer(t, service, requestHead(`/v1/${path}`, undefined, more)))
      }
      await eventually(() => held.length === paths.length)
      for (const { socket, closed } of peers) {
        socket.resetAndDestroy()
        await closed
      }
      // Once a later request on a later connection is handled, the service has seen this one.
      await call('GET', `${service.url}/healthz`)
      for (const response of held) answer === '' ? response.destroy() : response.end(answer)
    }
    behave = (_request, response) => void response.end('{"user":"u"}')
    t.equal(
      (await fetch(`${service.url}/v1/inbox`, { headers: { cookie: 'sid=last' } })).status,
      200
    )
    const { body } = await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })
    t.match(body.errors, { total: 0 }, JSON.stringify(body.errors.recent))
    t.match(body.connections.refused ?? {}, { unavailable: undefined })
  }
)

t.test(
  'the log says why a request was refused, and names setting, origin and cause when authentication is down',
  async (t) => {
    behave = (_request, response) => void response.end('<html>')
    const headers = { cookie: 'sid=nonsense' }
    t.equal((await fetch(`${service.url}/v1/inbox`, { headers })).status, 503)
    behave = (_request, response) => void response.end('{"user":"no name"}')
    t.equal((await fetch(`${service.url}/v1/inbox`, { headers })).status, 403)
    t.equal((await fetch(`${service.url}/v1/inbox?ticket=x`)).status, 401)
    const lines = () =>
      service
        .output()
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line))
    await eventually(() =>
      lines().some(({ detail }) => /^The ticket is unknown, used, expired or revoked/.test(detail))
    )
    await eventually(() =>
      lines().some(
        ({ code, detail }) => code === 'forbidden' && /user must be 1–128 characters/.test(detail)
      )
    )
    t.match(
      lines().filter(({ code }) => code === 'sign-in'),
      [
        {
          setting: 'AUTH_SESSION_URL',
          origin,
          msg: `sign-in: AUTH_SESSION_URL (${origin}): it answered with nonsense`
        }
      ].map((line) => ({
        ...line,
        msg: new RegExp(`^sign-in: AUTH_SESSION_URL \\(${origin}\\): `)
      }))
    )
  }
)
