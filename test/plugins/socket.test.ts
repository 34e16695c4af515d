import { once } from 'node:events'
import http from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import t, { type Test } from 'tap'
import { type ClientOptions, WebSocket } from 'ws'
import { eventually } from '../fixtures/eventually.ts'
import {
  call,
  connectionsOf,
  MONITOR_KEY,
  openStream,
  PUBLISH_KEY,
  publish,
  type RawPeer,
  rawPeer,
  requestHead,
  type Service,
  startService,
  tokenOf
} from '../service/harness.ts'

/**
 * A session service that identifies any cookie except `session=broken`. While `holds` is set, its
 * responses wait until the test sends them.
 */
const waiting: (() => void)[] = []
let holds = false
const sessions = http.createServer((request, response) => {
  const answer = (): void => {
    if (request.headers.cookie === 'session=broken') response.writeHead(500).end()
    else if (request.headers.cookie === undefined) response.writeHead(401).end()
    else response.end(JSON.stringify({ user: 'cookie-user', topics: [] }))
  }
  if (holds) waiting.push(answer)
  else answer()
})
sessions.listen(0, '127.0.0.1')
await once(sessions, 'listening')
t.teardown(() => sessions.close())

const friend = 'https://friend.example'
const service = await startService(t, {
  env: {
    BASE_PATH: '/notify',
    CORS_ORIGINS: friend,
    AUTH_SESSION_URL: `http://127.0.0.1:${(sessions.address() as AddressInfo).port}/`,
    MAX_BUFFERED_BYTES: '65536'
  }
})
const at = {
  ...service,
  url: service.url.endsWith('/notify') ? service.url : `${service.url}/notify`
} satisfies Service
const SOCKET = '/notify/v1/socket'
const token = tokenOf('u1')
const handshake = (
  more: readonly string[] = [],
  key = 'dGhlIHNhbXBsZSBub25jZQ==',
  version = '13'
): string[] => [
  'connection: Upgrade',
  'upgrade: websocket',
  `sec-websocket-key: ${key}`,
  `sec-websocket-version: ${version}`,
  ...more
]

/** A client, and the messages it received. */
async function open(
  t: Test,
  options: ClientOptions = { headers: { authorization: `Bearer ${token}` } }
) {
  const client = new WebSocket(`${at.url}/v1/socket`, options)
  t.teardown(() => client.terminate())
  const messages: { event: string; id?: string; data: Record<string, unknown> }[] = []
  client.on('message', (message: Buffer) => messages.push(JSON.parse(message.toString())))
  client.on('error', () => {})
  const closed = new Promise<number>((resolve) => client.once('close', resolve))
  const opened = await Promise.race([
    once(client, 'open').then(() => 101),
    once(client, 'unexpected-response').then(([request, response]) => {
      request.destroy()
      return response.statusCode as number
    })
  ])
  return {
    client,
    messages,
    closed,
    status: opened,
    got: (event: string) => eventually(() => messages.some((m) => m.event === event))
  }
}

/** Waits until Bellwire has closed its side. */
const ended = ({ socket }: RawPeer): Promise<void> =>
  eventually(() => socket.readableEnded || socket.destroyed)
const quiet = (): Promise<void> => eventually(async () => (await connectionsOf(at)).active === 0)

const cursorNow = async (): Promise<string> =>
  (await call('GET', `${at.url}/v1/inbox`, { key: token })).body.cursor

t.test('a request without a valid WebSocket handshake is 426 or 400', async (t) => {
  const { status, headers, body } = await call('GET', `${at.url}/v1/socket`)
  t.equal(status, 426)
  t.equal(headers.get('upgrade'), 'websocket')
  t.match(headers.get('content-type'), /^application\/problem\+json/)
  t.match(body, {
    type: 'https://bellwire.dev/problems/upgrade-required',
    status: 426,
    requestId: String
  })
  t.equal((await call('HEAD', `${at.url}/v1/socket`)).status, 426)
  t.equal((await call('POST', `${at.url}/v1/socket`)).status, 405)
  const old = await rawPeer(t, service, requestHead(SOCKET, token, handshake([], undefined, '8')))
  t.match(await old.until(/"status":426/), /sec-websocket-version: 13\r\n/i)
  await ended(old)
  const broken = await rawPeer(t, service, requestHead(SOCKET, token, handshake([], 'short')))
  t.match(await broken.until(/"status":400/), /^HTTP\/1\.1 400 /)
  t.equal((await connectionsOf(at)).active, 0)
})

t.test(
  'a wrong credential gets a problem document before the upgrade, and the socket closes',
  async (t) => {
    const peer = await rawPeer(t, service, requestHead(SOCKET, 'nonsense', handshake()))
    const text = await peer.until(/"status":401/)
    t.match(text, /^HTTP\/1\.1 401 /)
    t.match(text, /content-type: application\/problem\+json/i)
    t.match(text, /www-authenticate: Bearer/i)
    t.match(text, /x-request-id: /i)
    await ended(peer)
  }
)

t.test(
  'with a cookie only trusted origins may connect, with a token or a ticket all',
  async (t) => {
    const { host } = new URL(service.url)
    const withCookie = async (origin: string | undefined): Promise<number> =>
      (
        await open(t, {
          headers: { cookie: 'session=fine', ...(origin === undefined ? {} : { origin }) }
        })
      ).status
    t.equal(await withCookie('https://stranger.example'), 403)
    t.equal(await withCookie('null'), 403)
    t.equal(await withCookie(`https://${host}`), 403, 'another scheme is another origin')
    t.equal(await withCookie(`http://${host}`), 101)
    t.equal(await withCookie(friend), 101)
    t.equal(await withCookie(undefined), 101, 'a client without an Origin is not a browser')
    const headers = {
      authorization: `Bearer ${token}`,
      cookie: 'session=fine',
      origin: 'https://stranger.example'
    }
    t.equal((await open(t, { headers })).status, 101)
    const ticket = (
      await call('POST', `${at.url}/v1/tickets`, { key: PUBLISH_KEY, body: { user: 'u1' } })
    ).body.ticket
    const client = new WebSocket(`${at.url}/v1/socket?ticket=${ticket}`, {
      headers: { origin: 'null', cookie: 'session=fine' }
    })
    t.teardown(() => client.terminate())
    await once(client, 'open')
  }
)

t.test('an outage of the session service is a goodbye after the upgrade', async (t) => {
  const { status, messages, closed } = await open(t, { headers: { cookie: 'session=broken' } })
  t.equal(status, 101)
  t.equal(await closed, 1013)
  t.match(messages, [{ event: 'goodbye', data: { reason: 'unavailable' } }])
  const retryMs = messages[0]?.data['retryMs'] as number
  t.ok(retryMs >= 5_000 && retryMs <= 30_000)
})

t.test(
  'a client that disconnects while it is authenticated leaves no open connection',
  async (t) => {
    await quiet()
    const before = (await connectionsOf(at)).opened
    holds = true
    t.teardown(() => {
      holds = false
    })
    // One client resets the connection, the other closes its side. At most the latter is opened.
    const cut = await rawPeer(
      t,
      service,
      requestHead(SOCKET, undefined, handshake(['cookie: session=cut']))
    )
    const shut = await rawPeer(
      t,
      service,
      requestHead(SOCKET, undefined, handshake(['cookie: session=shut']))
    )
    await eventually(() => waiting.length === 2)
    cut.socket.resetAndDestroy()
    shut.socket.end()
    holds = false
    // Bellwire has seen the reset once it has answered a later request.
    await call('GET', `${at.url}/v1/inbox`, { key: token })
    for (const answer of waiting) answer()
    await ended(shut)
    await quiet()
    t.ok((await connectionsOf(at)).opened - before <= 1)
  }
)

t.test(
  'messages from the client are ignored, pings answered, and compression is never negotiated',
  async (t) => {
    const { client, messages, got } = await open(t)
    t.equal(client.extensions, '', 'the client offered compression')
    await got('ready')
    client.send('{"event":"notification"}')
    client.send(Buffer.from([0, 1, 2]))
    client.ping('are you there')
    const [answer] = await once(client, 'pong')
    t.equal(answer.toString(), 'are you there')
    await publish(at, { to: { user: 'u1' } })
    await got('notification')
    t.same(
      messages.map(({ event }) => event),
      ['ready', 'notification']
    )
  }
)

t.test(
  'a large message from the client closes the socket; a flood of small ones takes no memory',
  async (t) => {
    const large = await open(t)
    await large.got('ready')
    large.client.send('x'.repeat(5_000))
    t.equal(await large.closed, 1009)
    const rss = async (): Promise<number> =>
      (await call('GET', `${at.url}/monitor`, { key: MONITOR_KEY })).body.process.rssBytes
    const flood = await open(t)
    await flood.got('ready')
    const before = await rss()
    const text = Buffer.alloc(4_000, 'x')
    for (let n = 0; n < 50_000; n++) {
      flood.client.send(text)
      if (flood.client.bufferedAmount > 1_000_000)
        await eventually(() => flood.client.bufferedAmount === 0)
    }
    flood.client.ping()
    await once(flood.client, 'pong')
    const grown = (await rss()) - before
    t.ok(grown < 100_000_000, `${grown} bytes for 200 MB`)
    await publish(at, { to: { user: 'u1' } })
    await flood.got('notification')
  }
)

t.test('a client that sends pings without reading the pongs is cut off', async (t) => {
  const { client, closed } = await open(t)
  client.pause()
  const payload = 'x'.repeat(125)
  const ended = once(client, 'close')
  const { signal, abort } = ((controller = new AbortController()) => ({
    signal: controller.signal,
    abort: () => controller.abort()
  }))()
  void ended.then(abort)
  await eventually(async () => {
    for (let n = 0; n < 5_000 && client.readyState === client.OPEN; n++) client.ping(payload)
    return signal.aborted || (await connectionsOf(at)).active === 0
  })
  client.resume()
  await closed
  await quiet()
  t.pass('the client was cut off')
})

t.test(
  'a Close from the client closes the connection, even if the client keeps the socket open',
  async (t) => {
    await quiet()
    const { client, closed, got } = await open(t)
    await got('ready')
    client.close(1000)
    t.equal(await closed, 1000)
    await quiet()
    const peer = await rawPeer(t, service, requestHead(SOCKET, token, handshake()))
    await peer.until(/"event":"ready"/)
    const close = Buffer.from([0x88, 0x80, 0, 0, 0, 0])
    peer.socket.write(close)
    // After 30 s the WebSocket library would close the socket by itself.
    await eventually(async () => (await connectionsOf(at)).active === 0, 20_000)
    t.pass('the connection closes before the socket')
  }
)

// Newer versions of Node ask before an upgrade, and serve other requests as ordinary ones.
const asksFirst = 'shouldUpgradeCallback' in http.createServer()

t.test('a pipelined upgrade closes the socket', async (t) => {
  await quiet()
  for (const path of [SOCKET, '/notify/v1/inbox']) {
    const poll = requestHead(`/notify/v1/changes?wait=30&since=${await cursorNow()}`, token)
    const peer = await rawPeer(t, service, poll + requestHead(path, token, handshake()))
    if (path !== SOCKET && asksFirst) {
      await eventually(async () => (await connectionsOf(at)).byTransport.poll === 1)
      await publish(at, { to: { user: 'u1' }, title: 'for both' })
      await eventually(() => peer.text().match(/HTTP\/1\.1 200 /g)?.length === 2)
      peer.socket.destroy()
    } else {
      await ended(peer)
      t.equal(peer.text(), '')
    }
    await quiet()
  }
})

t.test('no frame follows a Close, even if the client reads slowly', async (t) => {
  const service = await startService(t)
  const { port, hostname } = new URL(service.url)
  const socket = connect(Number(port), hostname)
  t.teardown(() => socket.destroy())
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.write(requestHead('/v1/socket', token, handshake()))
  await eventually(() => Buffer.concat(chunks).includes('"event":"ready"'))
  socket.pause()
  // Large batches, because the kernel buffers megabytes; two of them fit into one client's buffer.
  const notifications = Array.from({ length: 80 }, () => ({
    to: { user: 'u1' },
    type: 'heavy',
    body: 'x'.repeat(4_000)
  }))
  const burden = () =>
    call('POST', `${service.url}/v1/notifications/batch`, {
      key: PUBLISH_KEY,
      body: { notifications }
    })
  const list = `${service.url}/monitor/connections?user=u1`
  await eventually(async () => {
    await burden()
    return (await call('GET', list, { key: MONITOR_KEY })).body.connections[0].state === 'blocked'
  })
  // A masked Close with code 1000. The Close in return waits behind the unread frames.
  socket.write(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]))
  await call('GET', `${service.url}/healthz`)
  await burden()
  socket.resume()
  await once(socket, 'end')
  const bytes = Buffer.concat(chunks)
  const opcodes: number[] = []
  for (let at = bytes.indexOf('\r\n\r\n') + 4; at < bytes.length; ) {
    opcodes.push(bytes[at]! & 0x0f)
    const short = bytes[at + 1]!
    if (short === 127) at += 10 + Number(bytes.readBigUInt64BE(at + 2))
    else at += short === 126 ? 4 + bytes.readUInt16BE(at + 2) : 2 + short
  }
  t.equal(opcodes.indexOf(8), opcodes.length - 1)
  t.ok(opcodes.length > 20)
})

t.test('requests that ask for another upgrade are served as ordinary requests', async (t) => {
  const body = JSON.stringify({
    to: { user: 'h2c' },
    type: 'test',
    title: 'by an HTTP client that offers h2c'
  })
  const upgrade = [
    'Connection: Upgrade, HTTP2-Settings',
    'Upgrade: h2c',
    'HTTP2-Settings: AAMAAABkAARAAAAA'
  ]
  const head = requestHead(
    '/notify/v1/notifications',
    PUBLISH_KEY,
    [...upgrade, 'content-type: application/json', `content-length: ${body.length}`],
    'POST'
  )
  const peer = await rawPeer(t, service, head + body.slice(0, 20))
  // The rest of the body arrives in a later turn of the event loop than the head.
  await call('GET', `${service.url}/healthz`)
  peer.socket.write(body.slice(20))
  await peer.until(/HTTP\/1\.1 201 /)
  // Further requests on the connection must not add listeners.
  for (let n = 1; n <= 15; n++) {
    peer.socket.write(requestHead('/notify/v1/inbox', tokenOf('h2c'), upgrade))
    await eventually(() => (peer.text().match(/HTTP\/1\.1 200 /g)?.length ?? 0) === n)
  }
  t.match(peer.text(), /by an HTTP client that offers h2c/)
  t.notMatch(service.output(), /MaxListeners/)
  const stream = await openStream(t, `${at.url}/v1/stream`, {
    token: tokenOf('h2c'),
    headers: { connection: 'Upgrade', upgrade: 'h2c' }
  })
  t.equal(stream.status, 200)
  await stream.until(({ event }) => event === 'ready')
  const elsewhere = await rawPeer(t, service, requestHead('/notify/v1/inbox', token, handshake()))
  await elsewhere.until(/HTTP\/1\.1 200 /)
  const cut = await rawPeer(
    t,
    service,
    requestHead('/notify/v1/inbox', token, [...upgrade, ...Array(1_100).fill('a: b')])
  )
  await ended(cut)
  t.match(
    cut.text(),
    asksFirst ? /^HTTP\/1\.1 431 / : /^$/,
    'a request whose headers Node did not keep whole is not served'
  )
})

t.test('the OpenAPI document describes the socket', async (t) => {
  const { body } = await call('GET', `${at.url}/documentation/json`)
  const socket = body.paths['/v1/socket'].get
  t.match(Object.keys(socket.responses), ['101', '4XX', 'default'])
  t.match(socket.parameters.map(({ name }: { name: string }) => name).sort(), [
    'items',
    'lastEventId',
    'last_event_id',
    'since',
    'topics'
  ])
})
