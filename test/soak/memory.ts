import { connect } from 'node:net'
import { test } from 'tap'
import {
  call,
  connectionsOf,
  PUBLISH_KEY,
  requestHead,
  type Service,
  startService,
  tokenOf
} from '../service/harness.ts'

const SMALL = { flags: ['--max-old-space-size=256'] }

/** Opens a stream, waits for its first event, and leaves. */
function visit(service: Service, path: string, token: string): Promise<string> {
  const { port, hostname } = new URL(service.url)
  return new Promise((resolve, reject) => {
    const socket = connect({ port: Number(port), host: hostname })
    let text = ''
    socket.setEncoding('utf8').on('error', reject)
    socket.on('close', () => reject(new Error(`closed after ${text.slice(0, 200)}`)))
    socket.on('data', (chunk) => {
      text += chunk
      const event = /event: (\w+)/.exec(text)?.[1]
      if (event === undefined) return
      socket.destroy()
      resolve(event)
    })
    socket.write(requestHead(path, token))
  })
}

test('a user who opens streams with the longest lists of topics again and again does not fill the memory', async (t) => {
  const service = await startService(t, SMALL)
  const token = tokenOf('ann', ['*'])
  const seen: Record<string, number> = {}
  const open = async (n: number): Promise<void> => {
    const topics = Array.from({ length: 120 }, (_, i) => `${n}-${i}-`.padEnd(128, 'x')).join()
    const event = await visit(service, `/v1/stream?topics=${topics}`, token)
    seen[event] = (seen[event] ?? 0) + 1
  }
  for (let n = 0; n < 5000; n += 10)
    await Promise.all(Array.from({ length: 10 }, (_, i) => open(n + i)))
  t.match(seen, { ready: /^\d{3,}$/, goodbye: /^\d{4}$/ }, 'most are told to come back later')
  t.equal((await connectionsOf(service)).active, 0)
})

test('users behind one proxy who all reconnect at once are admitted, and their topics do not fill the memory', async (t) => {
  const service = await startService(t, SMALL)
  const events: string[] = []
  const open = async (n: number): Promise<void> => {
    const topics = Array.from({ length: 100 }, (_, i) => `${n}-${i}-`.padEnd(128, 'x')).join()
    events.push(await visit(service, `/v1/stream?topics=${topics}`, tokenOf(`u${n}`, ['*'])))
  }
  for (let n = 0; n < 10_000; n += 50)
    await Promise.all(Array.from({ length: 50 }, (_, i) => open(n + i)))
  t.equal(events.filter((event) => event === 'ready').length, 10_000)
})

test('batches for many users with the longest names do not fill the memory', async (t) => {
  const service = await startService(t, SMALL)
  for (const ephemeral of [true, false]) {
    for (let round = 0; round < 6; round++) {
      const notifications = Array.from({ length: 1000 }, (_, n) => ({
        to: {
          users: Array.from({ length: 100 }, (_, i) => `${round}-${n}-${i}-`.padEnd(128, 'y'))
        },
        type: 't',
        ephemeral
      }))
      const { status } = await call('POST', `${service.url}/v1/notifications/batch`, {
        key: PUBLISH_KEY,
        body: { notifications }
      })
      t.equal(status, 200, `${ephemeral ? 'ephemeral' : 'stored'}, batch ${round}`)
    }
  }
})

test('a body of unknown fields is refused at once, with an answer that is small', async (t) => {
  const service = await startService(t, SMALL)
  const fields = Array.from({ length: 1_600_000 }, (_, n) => `"f${n}":1`).join()
  for (const body of [
    `{"notifications":[{${fields}}]}`,
    `{"notifications":[],${fields}}`,
    `{${fields}}`
  ]) {
    const headers = { authorization: `Bearer ${PUBLISH_KEY}`, 'content-type': 'application/json' }
    const response = await fetch(`${service.url}/v1/notifications/batch`, {
      method: 'POST',
      headers,
      body
    })
    const text = await response.text()
    t.ok([200, 422].includes(response.status), `${response.status}`)
    t.ok(text.length < 10_000, `${text.length} bytes`)
  }
  t.equal((await call('GET', `${service.url}/healthz`)).status, 200)
})

test('peers that read none of their answers do not fill the memory', async (t) => {
  const service = await startService(t, { ...SMALL, env: { RATE_LIMIT: '0' } })
  const token = tokenOf('ann')
  const { body } = await call('GET', `${service.url}/v1/changes`, { key: token })
  const notifications = Array.from({ length: 200 }, () => ({
    to: { user: 'ann' },
    type: 't',
    data: { a: 'x'.repeat(15_000) }
  }))
  for (let n = 0; n < 2; n++)
    await call('POST', `${service.url}/v1/notifications/batch`, {
      key: PUBLISH_KEY,
      body: { notifications }
    })
  const { port, hostname } = new URL(service.url)
  for (const { sockets, requests, path } of [
    { sockets: 300, requests: 1, path: `/v1/changes?limit=500&since=${body.cursor}` },
    { sockets: 10, requests: 30, path: '/v1/inbox?limit=100' },
    { sockets: 1900, requests: 1, path: '/v1/inbox?limit=100' },
    { sockets: 800, requests: 1000, path: '/nowhere' },
    { sockets: 800, requests: 1000, path: '/%E0' }
  ]) {
    const peers = Array.from({ length: sockets }, () => {
      const socket = connect({ port: Number(port), host: hostname }).on('error', () => {})
      socket.pause().write(requestHead(path, token).repeat(requests))
      return socket
    })
    for (let n = 0; n < 10; n++) {
      t.equal((await call('GET', `${service.url}/healthz`)).status, 200, path)
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
    for (const peer of peers) peer.destroy()
  }
})
