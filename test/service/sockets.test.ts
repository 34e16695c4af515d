import { once } from 'node:events'
import http from 'node:http'
import path from 'node:path'
import t from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import {
  call,
  connectionsOf,
  MONITOR_KEY,
  NODE_FLAGS,
  openStream,
  PUBLISH_KEY,
  publish,
  rawPeer,
  requestHead,
  type Service,
  startService,
  tokenOf
} from './harness.ts'

const TWO_LOCALHOSTS = ['--import', path.resolve('test/fixtures/two-localhosts.js')]
const friend = 'https://friend.example'
const [on, off] = await Promise.all(
  [NODE_FLAGS.on, NODE_FLAGS.off].map((flags) =>
    startService(t, { flags, env: { CORS_ORIGINS: friend } })
  )
)
const services = { on: on!, off: off! }

/** Waits until the service has no connection of the previous test. */
async function quiet(service: Service): Promise<Service> {
  await eventually(async () => (await connectionsOf(service)).active === 0)
  return service
}

const token = tokenOf('u1')

for (const detach of ['on', 'off'] as const) {
  t.test(
    `a peer that closes its side only, or leaves a waiting poll, is gone at once (socket detached: ${detach})`,
    { buffered: true },
    async (t) => {
      const service = await quiet(services[detach])
      const before = (await connectionsOf(service)).opened
      const half = await rawPeer(t, service, requestHead('/v1/stream', token))
      const [, cursor] = /\nid: (\S+)\n\n/.exec(await half.until(/event: ready\n.*\nid: .*\n\n/))!
      const poll = await rawPeer(
        t,
        service,
        requestHead(`/v1/changes?since=${cursor}&wait=30`, token)
      )
      await eventually(async () => (await connectionsOf(service)).byTransport.poll === 1)
      t.match(await connectionsOf(service), { active: 2, opened: before + 2 })
      const ended = once(half.socket, 'end')
      half.socket.end()
      await ended
      poll.socket.destroy()
      await eventually(async () => (await connectionsOf(service)).active === 0)
      t.match((await connectionsOf(service)).closed, { gone: 2 })
    }
  )

  t.test(
    `a stream carries every header that other routes carry, and is cached nowhere (socket detached: ${detach})`,
    { buffered: true },
    async (t) => {
      const friend = 'https://friend.example'
      const service = await startService(t, {
        flags: NODE_FLAGS[detach],
        env: { CORS_ORIGINS: friend }
      })
      const headers = { origin: friend, 'x-request-id': 'mine-1' }
      const inbox = await call('GET', `${service.url}/v1/inbox`, { key: token, headers })
      const stream = await openStream(t, `${service.url}/v1/stream`, { token, headers })
      await stream.until((f) => f.event === 'ready')
      const ofTheBody = [
        'content-type',
        'content-length',
        'cache-control',
        'etag',
        'date',
        'connection',
        'keep-alive',
        'vary'
      ]
      for (const [name, value] of inbox.headers)
        if (!ofTheBody.includes(name) && !name.startsWith('x-ratelimit'))
          t.equal(stream.headers[name], value, `${name}: ${value}`)
      t.match(stream.headers, {
        'access-control-allow-origin': friend,
        'access-control-allow-credentials': 'true',
        'x-request-id': 'mine-1',
        'x-content-type-options': 'nosniff',
        vary: /Origin/i,
        'cache-control': 'no-store, no-transform'
      })
      t.equal(stream.headers['content-length'], undefined)
      t.equal(stream.headers['transfer-encoding'], undefined)
      const stranger = await openStream(t, `${service.url}/v1/stream`, {
        token,
        headers: { origin: 'https://stranger.example' }
      })
      t.equal(
        stranger.headers['access-control-allow-origin'],
        undefined,
        'no origin is let in for asking'
      )
      t.match(stranger.headers['vary'], /Origin/i)

      t.equal(inbox.headers.get('cache-control'), 'private, no-cache')
      const poll = await call('GET', `${service.url}/v1/changes`, { key: token })
      t.equal(poll.headers.get('cache-control'), 'private, no-store')
      const preflight = await call('OPTIONS', `${service.url}/v1/stream`, {
        headers: {
          origin: friend,
          'access-control-request-method': 'GET',
          'access-control-request-headers': 'last-event-id'
        }
      })
      t.equal(preflight.status, 204)
      t.match(preflight.headers.get('access-control-allow-headers'), /Last-Event-ID/i)
      t.notMatch(service.output(), /ERR_|reply\.sent|"level":[56]0/, 'no second answer was tried')
    }
  )
}

t.test('of 2,000 pipelined streams only the first opens, and its end is noticed', async (t) => {
  const service = await quiet(services.on)
  const before = (await connectionsOf(service)).opened
  const peer = await rawPeer(t, service, requestHead('/v1/stream', token).repeat(2000))
  peer.socket.end()
  await peer.closed
  await eventually(async () => (await connectionsOf(service)).active === 0)
  const opened = (await connectionsOf(service)).opened - before
  t.ok(opened <= 1, `${opened} opened`)
})

t.test('a stream opens whatever is in the same packet, and the process goes on', async (t) => {
  const service = await quiet(services.on)
  const withBody = (target: string, method: string): string =>
    `${requestHead(target, token, ['content-type: application/json', 'content-length: 2'], method)}{}`
  const stream = requestHead('/v1/stream', token)
  const rest = requestHead('/healthz')
  for (const packet of [
    stream + withBody('/nope', 'POST') + rest,
    withBody('/v1/stream', 'GET') + rest,
    withBody('/v1/stream', 'GET'),
    withBody('/nope', 'POST') + stream + withBody('/nope', 'POST') + rest,
    stream + withBody('/nope', 'POST').repeat(3)
  ]) {
    const peer = await rawPeer(t, service, packet)
    await peer.until(/event: ready/)
    peer.socket.end()
    await peer.closed
    await eventually(async () => (await connectionsOf(service)).active === 0)
  }
  t.equal(service.child.exitCode, null)
})

t.test('HOST=localhost answers the same on all its addresses, also to invalid HTTP', async (t) => {
  const service = await startService(t, {
    flags: TWO_LOCALHOSTS,
    env: { STORE: 'memory', HOST: 'localhost', DRAIN_MS: '100' }
  })
  const { port } = new URL(service.url)
  for (const address of ['127.0.0.1', '[::1]']) {
    const url = `http://${address}:${port}`
    const garbage = await rawPeer(t, { url }, 'GARBAGE\r\n\r\n')
    await garbage.until(/^HTTP\/1\.1 400 [\s\S]*application\/problem\+json/)
    const handshake = await rawPeer(
      t,
      { url },
      requestHead('/v1/socket', token, [
        'connection: upgrade',
        'upgrade: websocket',
        'sec-websocket-version: 13',
        'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=='
      ])
    )
    await handshake.until(/^HTTP\/1\.1 101/)
    const h2c = await rawPeer(
      t,
      { url },
      requestHead('/healthz', undefined, ['connection: Upgrade', 'upgrade: h2c'])
    )
    await h2c.until(/^HTTP\/1\.1 200/)
  }
  t.equal(await service.kill('SIGTERM'), 0)
})

t.test(
  'bytes sent after a stream request neither end the stream nor are answered in it',
  async (t) => {
    const service = await quiet(services.on)
    const before = (await connectionsOf(service)).opened
    const peer = await rawPeer(t, service, requestHead('/v1/stream', token))
    await peer.until(/event: ready/)
    for (const [n, bytes] of [
      'GET /v1/inbox HTTP/1.1\r\nhos',
      'NONSENSE\r\n\r\n',
      '\0\xff\r\n'.repeat(10_000)
    ].entries()) {
      peer.socket.write(bytes, 'latin1')
      await publish(service, { to: { user: 'u1' }, data: { n } })
      await peer.until(new RegExp(`"n":${n}`))
    }
    t.equal(peer.text().match(/HTTP\/1\.1/g)?.length, 1)
    t.match(await connectionsOf(service), { active: 1, opened: before + 1 })
  }
)

t.test('HTTP/1.0 gets unchunked frames, and a poll with Content-Length', async (t) => {
  const service = await quiet(services.on)
  const old = (path: string): string => requestHead(path, token).replace('HTTP/1.1', 'HTTP/1.0')
  const stream = await rawPeer(t, service, old('/v1/stream'))
  // Published before the stream is open, it would be part of `ready`.
  await stream.until(/event: ready\n.*\nid: .*\n\n/)
  await publish(service, { to: { user: 'u1' }, title: 'for the old' })
  const text = await stream.until(/"for the old".*\nid: .*\n\n/)
  t.notMatch(text, /transfer-encoding/i)
  t.match(text, /\r\n\r\nretry: \d+\nevent: ready\ndata: .*\nid: \S+\n\nevent: notification\n/)
  const poll = await rawPeer(t, service, old('/v1/changes'))
  await poll.until(/"more":false}$/)
  const [head, body] = poll.text().split('\r\n\r\n')
  t.equal(Number(/content-length: (\d+)/i.exec(head!)?.[1]), Buffer.byteLength(body!))
  t.match(JSON.parse(body!), { events: [{ event: 'ready' }], cursor: String, more: false })
})

t.test('HEAD on every GET route is answered at once and opens no connection', async (t) => {
  const service = await quiet(services.on)
  const before = (await connectionsOf(service)).opened
  const { paths } = (await call('GET', `${service.url}/documentation/json`)).body
  const read = Object.keys(paths).filter((path) => 'get' in paths[path])
  t.ok(read.length > 10)
  const ticket = (
    await call('POST', `${service.url}/v1/tickets`, { key: PUBLISH_KEY, body: { user: 'u1' } })
  ).body.ticket
  for (const path of [...read, '/v1/stream']) {
    const key = /^\/(monitor|metrics)/.test(path)
      ? MONITOR_KEY
      : /^\/v1\/(notifications|presence)/.test(path)
        ? PUBLISH_KEY
        : token
    const began = performance.now()
    const { status, text } = await call(
      'HEAD',
      `${service.url}${path.replace(/\{\w+\}/, 'x')}?wait=30&since=x`,
      { key }
    )
    t.ok([200, 404, 422, 426].includes(status), `${path}: ${status}`)
    t.equal(text, '')
    t.ok(performance.now() - began < 10_000, `${path} waits for nothing`)
  }
  for (const path of ['/v1/stream', '/v1/changes']) {
    const { status, headers } = await call('HEAD', `${service.url}${path}?wait=30&ticket=${ticket}`)
    t.match(
      [status, headers.get('content-type')],
      [200, path === '/v1/stream' ? 'text/event-stream; charset=utf-8' : /json/]
    )
    t.equal((await call('HEAD', `${service.url}${path}`)).status, 401)
  }
  t.match(await connectionsOf(service), { active: 0, opened: before })
  const stream = await openStream(t, `${service.url}/v1/stream?ticket=${ticket}`)
  await stream.until((f) => f.event === 'ready')
  t.equal(stream.status, 200, 'the ticket was not used up')
  stream.close()
})

t.test(
  'repeated polls on one socket, and many streams, leave no listener behind',
  { buffered: true },
  async (t) => {
    const service = await quiet(services.on)
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    t.teardown(() => agent.destroy())
    const poll = async (path: string): Promise<{ cursor: string; port: number }> => {
      const request = http.get(`${service.url}${path}`, {
        agent,
        headers: { authorization: `Bearer ${token}` }
      })
      const [response] = (await once(request, 'response')) as [http.IncomingMessage]
      let text = ''
      for await (const chunk of response) text += chunk
      return { ...JSON.parse(text), port: request.socket!.localPort }
    }
    let { cursor, port } = await poll('/v1/changes')
    for (let n = 0; n < 15; n++) {
      const waiting = poll(`/v1/changes?since=${cursor}&wait=30`)
      await eventually(async () => (await connectionsOf(service)).byTransport.poll === 1)
      await publish(service, { to: { user: 'u1' }, data: { n } })
      const answer = await waiting
      t.not(answer.cursor, cursor)
      t.equal(answer.port, port, 'the same socket')
      ;({ cursor, port } = answer)
    }
    const streams = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        openStream(t, `${service.url}/v1/stream`, { token: tokenOf(`s${n}`) })
      )
    )
    for (const stream of streams) await stream.until((f) => f.event === 'ready')
    t.notMatch(service.output(), /MaxListenersExceeded/)
  }
)
