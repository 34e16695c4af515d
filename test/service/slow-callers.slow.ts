import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import {
  call,
  connectionsOf,
  openStream,
  PUBLISH_KEY,
  rawPeer,
  requestHead,
  startService,
  tokenOf
} from './harness.ts'

const FILES = 400
const [patient, small] = await Promise.all([
  startService(t, { env: { STORE: 'memory' } }),
  // Room for 200 streams and 90 other sockets.
  startService(t, { env: { STORE: 'memory' }, under: ['prlimit', `--nofile=${FILES}`] })
])

t.test(
  'a request head or body that never completes times out and is never processed',
  { buffered: true },
  async (t) => {
    const began = performance.now()
    const seconds = (): number => (performance.now() - began) / 1000
    const head = await rawPeer(t, patient, 'GET /v1/inbox HTTP/1.1\r\nhost: x\r\n')
    const body = await rawPeer(
      t,
      patient,
      requestHead(
        '/v1/notifications',
        PUBLISH_KEY,
        ['content-type: application/json', 'content-length: 5000'],
        'POST'
      )
    )
    const trickle = setInterval(() => body.socket.write(' '), 500)
    t.teardown(() => clearInterval(trickle))
    await Promise.all([
      (async () => {
        await eventually(() => head.text() !== '', 20_000)
        t.match(head.text(), /^HTTP\/1\.1 408 [\s\S]*"status":408/)
        t.ok(seconds() > 13 && seconds() < 18, `a head has 15 s: ${seconds()}`)
        // A client that keeps sending finds the connection closed.
        const more = setInterval(() => head.socket.write('x'), 500)
        t.teardown(() => clearInterval(more))
        await head.closed
        t.ok(seconds() < 24, 'and the connection 6 s more')
      })(),
      (async () => {
        await eventually(() => body.text() !== '', 30_000)
        t.match(body.text(), /^HTTP\/1\.1 408 [\s\S]*"status":408/)
        t.ok(seconds() > 23 && seconds() < 28, `a body has 25 s: ${seconds()}`)
        // The missing part arrives too late.
        clearInterval(trickle)
        body.socket.write(JSON.stringify({ to: { user: 'late' }, type: 't' }).padEnd(5000))
        body.socket.end()
        await body.closed
        t.equal(body.text().match(/HTTP\/1\.1/g)?.length, 1)
        const { body: counts } = await call('GET', `${patient.url}/v1/inbox/counts`, {
          key: tokenOf('late')
        })
        t.equal(counts.unread, 0)
      })()
    ])
  }
)

t.test('heads up to 32 KiB are read, longer ones are 431', async (t) => {
  const padded = (size: number): string => {
    const head = requestHead('/healthz', undefined, ['x-padding: '])
    return head.replace('x-padding: ', `x-padding: ${'x'.repeat(size - head.length)}`)
  }
  const whole = await rawPeer(t, patient, padded(32 * 1024))
  await whole.until(/^HTTP\/1\.1 200/)
  const long = await rawPeer(t, patient, padded(40 * 1024))
  await long.until(/^HTTP\/1\.1 431[\s\S]*"status":431/)
})

t.test(
  'refused streams and endless request heads leave room for other requests and health probes',
  async (t) => {
    const port = Number(new URL(small.url).port)
    const peers: Socket[] = []
    t.teardown(() => {
      for (const peer of peers) peer.destroy()
    })
    /** A client that sends this, then nothing, and never closes its side. */
    const hang = async (bytes: string): Promise<void> => {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => {})
      peers.push(socket)
      await once(socket, 'connect')
      socket.write(bytes)
      socket.resume()
    }
    const streams = await Promise.all(
      Array.from({ length: 200 }, (_, n) =>
        openStream(t, `${small.url}/v1/stream`, { token: tokenOf(`u${n}`) })
      )
    )
    await Promise.all(streams.map((stream) => stream.until((f) => f.event === 'ready')))
    for (let n = 0; n < 400; n++) {
      await hang(
        n % 2
          ? requestHead('/v1/stream', tokenOf(`v${n}`))
          : 'GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: '
      )
      if (n % 20 === 0) t.equal((await call('GET', `${small.url}/healthz`)).status, 200)
    }
    const files = readdirSync(`/proc/${small.child.pid}/fd`).length
    t.ok(files < FILES - 50, `${files} files are open`)
    t.match(await connectionsOf(small), { active: 200, refused: { limit: Number } })
    t.notMatch(small.output(), /EMFILE/)
    for (const stream of streams) stream.close()
  }
)
