import http from 'node:http'
import t from 'tap'
import { skipHaproxy, skipNginx, startHaproxy, startScaleNginx } from '../fixtures/proxies.ts'
import { PUBLISH_KEY, rawPeer, type Service, startService } from './harness.ts'

/** The largest body nginx lets through. */
const HUGE = Buffer.alloc(19_000_000, 'x')

const nodes = await Promise.all(
  [1, 2, 3].map(() =>
    startService(t, {
      env: { STORE: 'memory', TRUST_PROXY: '1', DRAIN_MS: '3000', LOG_LEVEL: 'info' }
    })
  )
)
const portsOf = (services: readonly Service[]): number[] =>
  services.map(({ url }) => Number(new URL(url).port))

/**
 * Sends a body, over its own connection if no agent is given. Returns the status, or 0 without an
 * answer.
 */
function send(
  url: string,
  body: Buffer,
  headers: Record<string, string> = {},
  method = 'POST',
  agent: http.Agent | false = false
): Promise<number> {
  return new Promise((resolve) => {
    const request = http.request(url, {
      method,
      agent,
      headers: { 'content-type': 'application/json', 'content-length': body.length, ...headers }
    })
    request.on('response', (response) => {
      response.resume()
      resolve(response.statusCode!)
    })
    request.on('error', () => resolve(0))
    request.end(body)
  })
}

/** Sends requests until told to stop; returns how often each status came. */
function keepAsking(ask: () => Promise<number>): () => Promise<Record<number, number>> {
  const seen: Record<number, number> = {}
  let over = false
  const asking = (async () => {
    while (!over) {
      const status = await ask()
      seen[status] = (seen[status] ?? 0) + 1
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    return seen
  })()
  return () => {
    over = true
    return asking
  }
}

const authorized = { authorization: `Bearer ${PUBLISH_KEY}` }
const probe = (url: string): Promise<number> =>
  fetch(`${url}/healthz`).then(
    ({ status }) => status,
    () => 0
  )

/** Every kind of early answer: the request, its body and the expected status. */
const EARLY: readonly [
  path: string,
  body: Buffer,
  headers: Record<string, string>,
  status: number,
  method?: string
][] = [
  ['/nope', HUGE, {}, 404],
  ['/healthz', HUGE, {}, 405],
  ['/healthz', HUGE, {}, 200, 'GET'],
  ['/v1/notifications', HUGE, authorized, 413],
  ['/v1/notifications', HUGE, {}, 401],
  ['/v1/notifications/batch', HUGE, {}, 401],
  ['/v1/tickets', HUGE, authorized, 413],
  ['/v1/tickets', HUGE, { ...authorized, 'content-type': 'text/plain' }, 415],
  ['/v1/users/ann', HUGE, { ...authorized, 'content-type': 'text/plain' }, 204, 'DELETE'],
  ['/v1/stream', HUGE, {}, 401, 'GET']
]

for (const [name, skip, start] of [
  ['nginx', skipNginx, () => startScaleNginx(t, portsOf(nodes))],
  ['HAProxy', skipHaproxy, () => startHaproxy(t, portsOf(nodes), '2s')]
] as const)
  t.test(
    `a body that nobody reads gets its answer through ${name}, and no other request is refused`,
    { skip },
    async (t) => {
      const url = await start()
      const stop = keepAsking(() => probe(url))
      for (let round = 0; round < 2; round++)
        for (const [path, body, headers, status, method = 'POST'] of EARLY)
          t.equal(await send(`${url}${path}`, body, headers, method), status, `${method} ${path}`)
      t.strictSame(Object.keys(await stop()), ['200'])
    }
  )

t.test(
  'an early answer leaves the keep-alive connection usable for the next request',
  async (t) => {
    const peer = await rawPeer(
      t,
      nodes[0]!,
      'POST /nope HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n'
    )
    await peer.until(/^HTTP\/1\.1 404[\s\S]*Nothing exists/)
    peer.socket.write(`${'x'.repeat(100_000)}GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n`)
    await peer.until(/HTTP\/1\.1 200/)
  }
)

t.test(
  'a WebSocket handshake with a body is handled as an ordinary request, and its body is read',
  async (t) => {
    const peer = await rawPeer(
      t,
      nodes[0]!,
      'GET /v1/socket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 5000000\r\n\r\n'
    )
    peer.socket.write(Buffer.alloc(5_000_000, 'x'))
    await peer.until(/^HTTP\/1\.1 426/)
  }
)

t.test(
  'bytes sent after an early answer are read up to a limit, then the connection is closed',
  async (t) => {
    const peer = await rawPeer(
      t,
      nodes[0]!,
      'POST /nope HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n'
    )
    await peer.until(/^HTTP\/1\.1 404/)
    const chunk = Buffer.alloc(1_000_000, 'x')
    let sent = 0
    const pump = (): void => {
      while (!peer.socket.destroyed) {
        sent++
        peer.socket.write('f4240\r\n')
        peer.socket.write(chunk)
        if (!peer.socket.write('\r\n')) return
      }
    }
    peer.socket.on('drain', pump)
    pump()
    await peer.closed
    t.ok(sent >= 20, `${sent} MB`)
  }
)

t.test(
  'a stopping node keeps answering until its load balancer has noticed',
  { skip: skipHaproxy },
  async (t) => {
    const url = await startHaproxy(t, portsOf(nodes), '1s')
    const agent = new http.Agent({ keepAlive: true })
    t.teardown(() => agent.destroy())
    const publish = (): Promise<number> =>
      send(
        `${url}/v1/notifications`,
        Buffer.from('{"to":{"user":"ann"},"type":"t"}'),
        authorized,
        'POST',
        agent
      )
    const stops = [probe, probe, publish, publish, publish].map((ask) => keepAsking(() => ask(url)))
    t.equal(await nodes[0]!.kill('SIGTERM'), 0)
    const seen = await Promise.all(stops.map((stop) => stop()))
    t.strictSame([...new Set(seen.flatMap((statuses) => Object.keys(statuses)))].sort(), [
      '200',
      '201'
    ])
  }
)
