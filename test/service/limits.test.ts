import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import t from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import {
  call,
  connectionsOf,
  MONITOR_KEY,
  openStream,
  PUBLISH_KEY,
  publish,
  rawPeer,
  requestHead,
  type Service,
  startService,
  tokenOf
} from './harness.ts'

const linux = process.platform === 'linux'
const [narrow, counting] = (await Promise.all([
  startService(t, {
    under: linux ? ['prlimit', '--nofile=220:220'] : [],
    env: { MAX_BUFFERED_BYTES: '50000', HEARTBEAT_MS: '200' }
  }),
  startService(t, { env: { MAX_CONNECTIONS_PER_IP: '2' } })
])) as [Service, Service]

const big = (count: number) =>
  Array.from({ length: count }, (_, n) => ({
    to: { topic: 'big' },
    type: 't',
    data: { n, pad: 'y'.repeat(14_000) }
  }))
const publishAll = (service: { url: string }, notifications: readonly unknown[]) =>
  call('POST', `${service.url}/v1/notifications/batch`, {
    key: PUBLISH_KEY,
    body: { notifications }
  })

/**
 * Whether a process still holds the connection at `port`; the kernel may keep a closed one without
 * an owner.
 */
function holds(port: number, peerPort: number): boolean {
  const hex = (n: number): string => `0100007F:${n.toString(16).toUpperCase().padStart(4, '0')}`
  const rows = readFileSync('/proc/self/net/tcp', 'utf8')
    .split('\n')
    .map((row) => row.trim().split(/\s+/))
  return rows.some(
    ([, local, remote, , , , , , , inode]) =>
      local === hex(port) && remote === hex(peerPort) && inode !== '0'
  )
}

t.test(
  'streams stop below the open-file limit, so the rest of the service can still open files',
  {
    skip: process.platform === 'linux' ? false : 'needs prlimit, which is for Linux'
  },
  async (t) => {
    const service = narrow
    const streams = await Promise.all(
      Array.from({ length: 60 }, (_, n) =>
        openStream(t, `${service.url}/v1/stream`, { token: tokenOf(`u${n}`) })
      )
    )
    t.ok(streams.every(({ status }) => status === 200))
    const firsts = await Promise.all(streams.map((stream) => stream.until(() => true)))
    t.equal(firsts.filter(({ event }) => event === 'ready').length, 20)
    const refused = firsts.filter(({ event }) => event === 'goodbye')
    t.ok(refused.length === 40 && refused.every(({ data }) => data.reason === 'limit'))
    // Streams are limited, not sockets: other requests are served.
    t.equal((await call('GET', `${service.url}/healthz`)).status, 200)
    t.equal((await call('GET', `${service.url}/readyz`)).status, 200)
    t.equal((await publish(service, { to: { everyone: true } })).status, 201)
    t.match(await connectionsOf(service), { active: 20, refused: { limit: 40 } })
  }
)

t.test('a client that forges X-Forwarded-For is counted by its real address', async (t) => {
  const service = counting
  const events: string[] = []
  for (let n = 0; n < 3; n++) {
    const stream = await openStream(t, `${service.url}/v1/stream`, {
      token: tokenOf(`u${n}`),
      headers: {
        'x-forwarded-for': `203.0.113.${n}`,
        forwarded: `for=203.0.113.${n}`,
        'x-real-ip': `203.0.113.${n}`
      }
    })
    events.push((await stream.until(() => true)).event)
  }
  t.strictSame(events, ['ready', 'ready', 'goodbye'])
})

t.test(
  'a replay far larger than the buffer limit follows a slow reader’s pace and does not close it',
  async (t) => {
    const service = narrow
    await eventually(async () => (await connectionsOf(service)).active === 0)
    const token = tokenOf('u1', ['big'])
    const first = await openStream(t, `${service.url}/v1/stream`, { token })
    const { id } = await first.until((f) => f.event === 'ready')
    first.close()
    for (let n = 0; n < 5; n++) await publishAll(service, big(100))
    const slow = await openStream(t, `${service.url}/v1/stream?since=${id}`, { token })
    const count = (): number => slow.frames.filter((f) => f.event === 'notification').length
    let bursts = 0
    let most = 0
    while (count() < 500) {
      const before = count()
      slow.resume()
      await eventually(() => count() > before)
      slow.pause()
      bursts++
      most = Math.max(most, (await connectionsOf(service)).bufferedBytes)
    }
    slow.resume()
    await slow.until((f) => f.event === 'heartbeat')
    t.ok(bursts > 1, 'it stopped on the way')
    t.ok(most < 3_000_000, `never more than a page or two for it: ${most}`)
    t.match(await connectionsOf(service), { active: 1, closed: { slow: undefined } })
  }
)

t.test(
  'a client that keeps reading is never closed as slow, even while the kernel buffer drains longer than STALL_MS',
  {
    skip: linux ? false : 'only Linux tells what the kernel holds for a peer'
  },
  async (t) => {
    const stallMs = 2400
    const service = await startService(t, { env: { STALL_MS: String(stallMs) } })
    for (let n = 0; n < 5; n++) await publishAll(service, big(200))
    const { port, hostname } = new URL(service.url)
    let ended = false
    const token = tokenOf('u1', ['big'])
    const epoch = (
      await call('GET', `${service.url}/v1/inbox?limit=1`, { key: token })
    ).body.cursor.split('-')[0]
    const slow = connect({ port: Number(port), host: hostname })
    t.teardown(() => slow.destroy())
    slow.on('close', () => {
      ended = true
    })
    slow.write(requestHead(`/v1/stream?since=${epoch}-0`, token))
    const blocked = async () =>
      (await call('GET', `${service.url}/monitor/connections`, { key: MONITOR_KEY })).body
        .connections[0]
    await eventually(async () => (await blocked())?.bufferedBytes > 0)
    // The client's kernel announces room by the half megabyte; ours sends the next 1.5 MB only
    // then.
    let read = 0
    const reading = setInterval(() => {
      read += (slow.read(16_000) as Buffer | null)?.length ?? 0
    }, 40)
    t.teardown(() => clearInterval(reading))
    await new Promise((resolve) => setTimeout(resolve, 3.5 * stallMs))
    t.ok(read > 500_000, `${read} bytes were read`)
    t.notOk(ended)
    t.match(await connectionsOf(service), { active: 1, closed: { slow: undefined } })
    // Now the client stops reading.
    clearInterval(reading)
    await eventually(async () => (await connectionsOf(service)).closed.slow === 1)
  }
)

t.test(
  'a stalled client that is closed is disconnected even if it never reads the goodbye',
  {
    skip: linux ? false : 'only Linux tells whether a process still holds a socket'
  },
  async (t) => {
    const service = counting
    await eventually(async () => (await connectionsOf(service)).active === 0)
    const stalled = await rawPeer(t, service, requestHead('/v1/stream', tokenOf('u1', ['big'])))
    await stalled.until(/event: ready/)
    stalled.socket.pause()
    const held = (): boolean => holds(Number(new URL(service.url).port), stalled.socket.localPort!)
    t.ok(held())
    while ((await connectionsOf(service)).slow === 0) await publishAll(service, big(50))
    const { body } = await call('GET', `${service.url}/monitor/connections`, { key: MONITOR_KEY })
    const closed = await call(
      'DELETE',
      `${service.url}/monitor/connections/${body.connections[0].id}`,
      { key: MONITOR_KEY }
    )
    t.equal(closed.status, 204)
    t.match(await connectionsOf(service), { active: 0, closed: { closed: 1 } })
    t.ok(held(), 'it has time to take what is left')
    await eventually(() => !held())
  }
)

t.test('more than 200 topics are refused before a stream or WebSocket opens', async (t) => {
  const service = counting
  const names = Array.from({ length: 201 }, (_, n) => `topic-${n}`)
  const some = `topics=${names.slice(0, 200).join()}`
  const all = `topics=${names.join()}`
  const routes = ['/v1/stream', '/v1/socket', '/v1/changes', '/v1/inbox', '/v1/inbox/counts']
  const upgrade = [
    'connection: upgrade',
    'upgrade: websocket',
    'sec-websocket-version: 13',
    'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=='
  ]
  const ask = async (path: string, key: string) => {
    const peer = await rawPeer(
      t,
      service,
      requestHead(path, key, path.startsWith('/v1/socket') ? upgrade : [])
    )
    const head = await peer.until(/\r\n\r\n/)
    const status = Number(head.split(' ')[1])
    const text = status === 422 ? await peer.until(/\}$/) : head
    peer.socket.destroy()
    return { status, body: text.slice(text.indexOf('\r\n\r\n') + 4) }
  }
  for (const route of routes) {
    const wild = await ask(`${route}?${all}`, tokenOf('w', ['topic-*']))
    t.equal(wild.status, 422, route)
    t.match(JSON.parse(wild.body), {
      type: /validation$/,
      errors: [{ pointer: 'topics', detail: /at most 200 topics.*narrow by topics=/ }]
    })
    t.match(
      await ask(route, tokenOf('w', names)),
      { status: 422, body: /at most 200 topics.*narrow by topics=/ },
      route
    )
    const fine = route === '/v1/socket' ? 101 : 200
    t.equal(
      (await ask(`${route}?${some}`, tokenOf('w', names))).status,
      fine,
      'a credential may list more than are read'
    )
    t.equal(
      (await ask(`${route}?${some},topic-0`, tokenOf('w', ['topic-*']))).status,
      fine,
      'one given twice counts once'
    )
  }
  t.match(
    await call('POST', `${service.url}/v1/tickets`, {
      key: PUBLISH_KEY,
      body: { user: 'w', topics: names }
    }),
    {
      status: 201
    }
  )
})
