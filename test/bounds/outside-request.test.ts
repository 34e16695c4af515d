import { once } from 'node:events'
import http from 'node:http'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { test } from 'tap'
import {
  OutsideError,
  type OutsideOptions,
  OutsideServer
} from '../../src/bounds/outside-request.ts'

type Teardown = { teardown(fn: () => unknown): void }

/** A server that handles each connection as the test says. */
async function listen(t: Teardown, onConnection: (socket: Socket) => void) {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).once('close', () => sockets.delete(socket))
    onConnection(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    if (!server.listening) return
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  }
  t.teardown(close)
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets, close }
}

/** An HTTP server that handles each request as the test says. */
async function serve(t: Teardown, listener: http.RequestListener) {
  const server = http.createServer(listener)
  const net = await listen(t, (socket) => server.emit('connection', socket))
  return net
}

function asking(t: Teardown, url: string, options: Partial<OutsideOptions> = {}): OutsideServer {
  const server = new OutsideServer({
    setting: 'SOME_URL',
    url,
    timeoutMs: 10_000,
    maxBytes: 1000,
    maxConcurrent: 4,
    ...options
  })
  t.teardown(() => server.close())
  return server
}

async function allClosed(sockets: ReadonlySet<Socket>): Promise<void> {
  for (const socket of sockets) await new Promise((resolve) => socket.once('close', resolve))
}

/** The status, or the reason of the error, which must name the setting and the origin. */
async function reasonOf(server: OutsideServer, request = {}): Promise<string> {
  try {
    const { status } = await server.ask(request)
    return `answered ${status}`
  } catch (error) {
    if (!(error instanceof OutsideError)) throw error
    if (error.message !== `SOME_URL (${server.origin}): ${error.reason}`)
      throw new Error(error.message)
    return error.reason
  }
}

const answer = (text: string) => (socket: Socket) => socket.once('data', () => socket.write(text))

test('a response of another server has its status and headers, and its body if the status is 200', async (t) => {
  const { url, sockets } = await serve(t, (request, response) => {
    const status = Number(request.url?.slice(1)) || 200
    response.writeHead(status, {
      location: 'http://elsewhere.example/',
      'x-seen': request.headers['x-sent'] ?? ''
    })
    response.end(`${request.method} ${status}`)
  })
  const server = asking(t, url)
  const { status, headers, body } = await server.ask({ headers: { 'x-sent': 'a' } })
  t.match({ status, body, seen: headers['x-seen'] }, { status: 200, body: 'GET 200', seen: 'a' })
  t.match(await server.ask({ method: 'POST', body: 'x' }), { status: 200, body: 'POST 200' })
  t.equal(sockets.size, 1, 'sockets are reused')
  const redirecting = asking(t, `${url}/302`)
  t.match(
    await redirecting.ask(),
    { status: 302, body: '', headers: { location: 'http://elsewhere.example/' } },
    'a redirect is reported and not followed'
  )
})

test('a server that misbehaves causes an error that names the setting, the origin and the cause', async (t) => {
  const closed = await listen(t, () => {})
  await closed.close()
  t.match(await reasonOf(asking(t, closed.url)), /ECONNREFUSED/)
  const cases: [behaviour: (socket: Socket) => void, reason: RegExp][] = [
    [(socket) => socket.destroy(), /socket hang up|ECONNRESET/],
    [answer('SSH-2.0-OpenSSH\r\n\r\n'), /Parse Error/],
    [
      answer('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
      /without an answer/
    ],
    [
      answer(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`),
      /Header overflow|HPE_HEADER_OVERFLOW/
    ],
    [
      answer(`HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n${'y'.repeat(2000)}`),
      /larger than 1000 bytes/
    ],
    [
      (socket) =>
        socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf')),
      /cut short/
    ]
  ]
  for (const [behaviour, reason] of cases) {
    const { url } = await listen(t, behaviour)
    t.match(await reasonOf(asking(t, url)), reason)
  }
  t.match(
    await reasonOf(asking(t, `${closed.url.replace('//', '//user:pass@')}/secret?key=1`)),
    /ECONNREFUSED/,
    'the message holds no credential, path or query'
  )
  t.match(
    await reasonOf(asking(t, closed.url), { headers: { cookie: 'a=\u0416' } }),
    /Invalid character/
  )
})

test('a response that trickles in fails at the deadline, and leaves no socket open', async (t) => {
  const drip = (head: string) => (socket: Socket) => {
    socket.resume().write(head)
    const timer = setInterval(() => socket.write('x'), 20)
    socket.once('close', () => clearInterval(timer))
  }
  for (const behaviour of [
    (socket: Socket) => socket.resume(),
    drip('HTTP/1.1 200 OK\r\nx: '),
    drip('HTTP/1.1 200 OK\r\n\r\n')
  ]) {
    const { url, sockets } = await listen(t, behaviour)
    t.equal(
      await reasonOf(asking(t, url, { timeoutMs: 150, maxBytes: 100_000 })),
      'no answer within 150 ms'
    )
    await allClosed(sockets)
  }
  // Any status but 200 is the result at once; the rest of the response does not matter.
  const { url, sockets } = await listen(t, drip('HTTP/1.1 503 Away\r\n\r\n'))
  t.equal(await reasonOf(asking(t, url, { timeoutMs: 1_000 })), 'answered 503')
  await allClosed(sockets)
})

test('concurrent requests stay within the limit; further ones wait their turn, within the same deadline', async (t) => {
  const held: http.ServerResponse[] = []
  let arrived = (): void => {}
  const { url, sockets } = await serve(t, (_request, response) => {
    held.push(response)
    arrived()
  })
  const heldAre = async (count: number): Promise<void> => {
    while (held.length < count) await new Promise<void>((resolve) => (arrived = resolve))
  }
  const server = asking(t, url, { maxConcurrent: 2 })
  const outcomes = Array.from({ length: 6 }, () => reasonOf(server))
  for (let n = 2; n <= 6; n += 2) {
    await heldAre(n)
    t.ok(sockets.size <= 2)
    for (const response of held.slice(n - 2)) response.end('x')
  }
  t.strictSame(await Promise.all(outcomes), Array(6).fill('answered 200'))

  const hurried = asking(t, url, { maxConcurrent: 1, timeoutMs: 200 })
  t.strictSame(await Promise.all([reasonOf(hurried), reasonOf(hurried)]), [
    'no answer within 200 ms',
    'no answer within 200 ms: 1 earlier requests are still in progress'
  ])
  const flooded = Array.from({ length: 20 }, () =>
    reasonOf(hurried, { headers: { cookie: 'x'.repeat(1024 * 1024) } })
  )
  t.ok(
    (await Promise.all(flooded)).includes('too many requests are waiting already'),
    'the bytes of waiting requests are bounded'
  )

  const given = new AbortController()
  const early = reasonOf(server, { signal: given.signal })
  given.abort()
  t.equal(await early, 'the request was cancelled')
  held.length = 0
  const last = reasonOf(server)
  await heldAre(1)
  for (const response of held) response.end()
  t.equal(await last, 'answered 200', 'every request that ended has passed its turn on')
})

test('a GET is sent again on a new socket if its kept-alive socket closed before any response', async (t) => {
  let requests = 0
  let connections = 0
  // Every connection serves one request and closes on the next.
  const { url } = await listen(t, (socket) => {
    connections++
    let served = false
    socket.on('data', () => {
      requests++
      if (served) socket.destroy()
      else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
      served = true
    })
  })
  const server = asking(t, url)
  for (let n = 0; n < 4; n++) t.equal(await reasonOf(server), 'answered 200')
  t.match({ requests, connections }, { requests: 6, connections: 4 })
  t.equal(await reasonOf(server, { method: 'POST' }), 'answered 200')
  t.match(
    await reasonOf(server, { method: 'POST' }),
    /socket hang up|ECONNRESET/,
    'a POST is not sent again, because the server may have processed it'
  )
})
