import { once } from 'node:events'
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

const [idle, holding, ageing] = (await Promise.all([
  startService(t, { env: { DRAIN_MS: '100' } }),
  startService(t, { env: { DRAIN_MS: '5000' } }),
  startService(t, { env: { DRAIN_MS: '1000', MAX_CONNECTION_AGE_MS: '3000', HEARTBEAT_MS: '200' } })
])) as [Service, Service, Service]

t.test(
  'at shutdown an in-flight request on a keep-alive connection is answered and then holds nothing up',
  { buffered: true },
  async (t) => {
    const service = idle
    const body = JSON.stringify({ to: { user: 'u1' }, type: 'last' })
    const peer = await rawPeer(
      t,
      service,
      requestHead(
        '/v1/notifications',
        PUBLISH_KEY,
        ['content-type: application/json', `content-length: ${body.length}`],
        'POST'
      )
    )
    peer.socket.write(body.slice(0, 10))
    // When a request sent later is answered, this one's head has been read.
    await eventually(async () => (await connectionsOf(service)).active === 0)
    const exit = service.kill('SIGTERM')
    await eventually(() =>
      fetch(`${service.url}/healthz`).then(
        () => false,
        () => true
      )
    )
    t.equal(service.child.exitCode, null, 'it waits for the request')
    const sent = performance.now()
    peer.socket.write(body.slice(10))
    await peer.until(/^HTTP\/1\.1 201 /)
    t.equal(await exit, 0)
    t.ok(performance.now() - sent < 30_000, 'not for the keep-alive')
  }
)

t.test(
  'a stopping process answers until the end, and each answer closes its connection',
  async (t) => {
    const service = holding
    const request = (path: string, key?: string, method = 'GET'): string =>
      requestHead(path, key, [], method)
    const waiting = await rawPeer(t, service, request('/v1/changes?wait=30&since=x', tokenOf('u1')))
    const watching = await rawPeer(t, service, request('/v1/changes?wait=30', tokenOf('u1')))
    const { cursor } = JSON.parse((await watching.until(/\r\n\r\n.*\}$/)).split('\r\n\r\n')[1]!)
    const poll = await rawPeer(
      t,
      service,
      request(`/v1/changes?wait=30&since=${cursor}`, tokenOf('u1'))
    )
    await eventually(async () => (await connectionsOf(service)).byTransport.poll === 1)
    await waiting.until(/^HTTP\/1\.1 200/)
    const signalled = performance.now()
    const exit = service.kill('SIGTERM')
    await poll.until(/^HTTP\/1\.1 200/)
    t.match(poll.text(), /\r\nconnection: close\r\n/i, 'what was asked before')
    for (const [path, status, key, method] of [
      ['/readyz', 503],
      ['/readyz', 503, undefined, 'HEAD'],
      ['/healthz', 200],
      ['/v1/inbox/counts', 200, tokenOf('u1')],
      ['/v1/inbox', 401],
      ['/nope', 404],
      ['/v1/notifications', 405],
      ['/%zz', 400],
      ['/v1/socket', 426],
      ['/v1/stream', 200, tokenOf('u1')],
      ['/v1/stream', 200, tokenOf('u1'), 'HEAD'],
      ['/monitor/stream', 200, MONITOR_KEY]
    ] as const) {
      const peer = await rawPeer(t, service, request(path, key, method))
      const text = await peer.until(/\r\n\r\n/)
      t.match(text, new RegExp(`^HTTP/1\\.1 ${status} `), `${method ?? 'GET'} ${path}`)
      t.match(text, /\r\nconnection: ([\w, ]*, )?close\r\n/i, `${method ?? 'GET'} ${path}`)
    }
    let refusedAt = 0
    await eventually(async () => {
      await fetch(`${service.url}/readyz`).catch(() => {
        refusedAt = performance.now()
      })
      return refusedAt > 0
    })
    t.ok(
      refusedAt - signalled >= 4950,
      `the listener closed after ${refusedAt - signalled} ms of 5000`
    )
    t.equal(await exit, 0)
  }
)

t.test('streams opened together reach their maximum age at different times', async (t) => {
  const service = ageing
  const began = performance.now()
  const streams = await Promise.all(
    Array.from({ length: 30 }, (_, n) =>
      openStream(t, `${service.url}/v1/stream`, { token: tokenOf(`u${n}`) })
    )
  )
  const opened = performance.now()
  const ages = await Promise.all(
    streams.map(async (stream) => {
      const goodbye = await stream.until((f) => f.event === 'goodbye')
      const ended = performance.now()
      t.equal(goodbye.data.reason, 'rotate')
      t.ok(goodbye.data.retryMs >= 1000 && goodbye.data.retryMs <= 3000)
      return ended
    })
  )
  t.ok(Math.min(...ages) - began >= 2_690, 'not before nine tenths')
  t.ok(Math.max(...ages) - opened <= 6_000, 'not long after eleven tenths')
  t.ok(Math.max(...ages) - Math.min(...ages) > 150, 'spread')
})

t.test('draining closes streams one after another, each with its own retry time', async (t) => {
  const service = ageing
  const streams = await Promise.all(
    Array.from({ length: 40 }, (_, n) =>
      openStream(t, `${service.url}/v1/stream`, { token: tokenOf(`u${n}`) })
    )
  )
  for (const stream of streams) await stream.until((f) => f.event === 'ready')
  const ends: number[] = []
  const exit = service.kill('SIGTERM')
  await Promise.all(streams.map((stream) => stream.ended.then(() => ends.push(performance.now()))))
  t.equal(await exit, 0)
  t.ok(ends.at(-1)! - ends[0]! > 500, 'over most of the time there is')
  const inOneTenth = ends.map(
    (end) => ends.filter((other) => other >= end && other < end + 100).length
  )
  t.ok(Math.max(...inOneTenth) < 25, 'never most of them at once')
  t.ok(new Set(streams.map(({ retries }) => retries.at(-1))).size > 30, 'no two waves')
})

/** A signal makes the writer thread throw, as a bug in it would. */
const BREAKABLE = `process.on('worker', (worker) => process.on('SIGUSR2', () => worker.postMessage(null)))`

t.test(
  'when the writer thread dies the process logs it, closes its streams and exits with 1',
  async (t) => {
    const service = await startService(t, {
      flags: ['--import', `data:text/javascript,${encodeURIComponent(BREAKABLE)}`]
    })
    const exited = once(service.child, 'exit')
    const stream = await openStream(t, `${service.url}/v1/stream`, { token: tokenOf('u1') })
    await stream.until(({ event }) => event === 'ready')
    t.equal((await publish(service, { to: { user: 'u1' } })).status, 201)
    service.child.kill('SIGUSR2')
    t.equal((await stream.until(({ event }) => event === 'goodbye')).data.reason, 'unavailable')
    const [health, refused] = await Promise.all([
      call('GET', `${service.url}/healthz`),
      publish(service, { to: { user: 'u1' } })
    ])
    t.strictSame([health.status, refused.status], [503, 503])
    t.strictSame(await exited, [1, null])
    t.match(service.output(), /"level":60,.*the store is lost/)
    const again = await startService(t, { dataDir: service.dataDir })
    const { body } = await call('GET', `${again.url}/v1/inbox/counts`, {
      headers: { authorization: `Bearer ${tokenOf('u1')}` }
    })
    t.strictSame(body, { unread: 1, unseen: 1 }, 'what was acknowledged is there')
  }
)

t.test(
  'a signal that npm repeats does not cut a shutdown short; one a second later does',
  { buffered: true },
  async (t) => {
    const stopping = async (pauseMs: number): Promise<[number | null, string]> => {
      const service = await startService(t, { env: { DRAIN_MS: '3000' } })
      await openStream(t, `${service.url}/v1/stream`, { token: tokenOf('u1') })
      const exit = service.kill('SIGTERM')
      await eventually(() => service.output().includes('draining'))
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
      service.child.kill('SIGTERM')
      return [await exit, service.output()]
    }
    const forced = [stopping(1050), stopping(1050)]
    const [code, log] = await stopping(0)
    t.equal(code, 0)
    t.notMatch(log, /second signal/)
    // Not SIGABRT, as if the writer thread had been ended in native code.
    for (const [code] of await Promise.all(forced)) t.equal(code, 1)
  }
)
