import t from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import { jwt } from '../fixtures/jwt.ts'
import {
  call,
  connectionsOf,
  openStream,
  PUBLISH_KEY,
  publish,
  startService,
  type TestStream,
  tokenOf
} from './harness.ts'

/** A signal makes the process step its own wall clock. */
const STEPS = `let ahead = 0; const now = Date.now; Date.now = () => now() + ahead; let turn = 0
  process.on('SIGUSR2', () => { ahead = [1800, -3600, 0][turn++] * 1000; console.log('stepped', turn) })`
const service = await startService(t, {
  env: {
    HEARTBEAT_MS: '200',
    STALL_MS: '4000',
    MAX_BUFFERED_BYTES: '4000000',
    MAX_CONNECTION_AGE_MS: '2147483647'
  },
  flags: [`--import=data:text/javascript,${encodeURIComponent(STEPS)}`]
})

const DAY_S = 24 * 60 * 60
const beatsOf = ({ frames }: TestStream) => frames.filter((f) => f.event === 'heartbeat')
/** Waits for `n` more heartbeats. */
const beat = (stream: TestStream, more = 1): Promise<void> => {
  const before = beatsOf(stream).length
  return eventually(() => beatsOf(stream).length >= before + more)
}

t.test(
  'an idle stream gets a named heartbeat every interval, and its cursor moves past other users’ events',
  { buffered: true },
  async (t) => {
    await eventually(async () => (await connectionsOf(service)).active === 0)
    const token = tokenOf('u1', ['mine'])
    const stream = await openStream(t, `${service.url}/v1/stream`, { token })
    const ready = await stream.until((f) => f.event === 'ready')
    const began = performance.now()
    let id = ready.id
    for (let n = 0; n < 4; n++) {
      // The client is never without a frame, and the log never without an event.
      await publish(service, { to: n % 2 ? { user: 'u2' } : { topic: 'others' } })
      const passed = await stream.until(
        (f) => f.event === 'heartbeat' && f.id !== id,
        stream.frames.length - 1
      )
      t.strictSame(passed.data, {})
      t.ok(Number(passed.id!.split('-')[1]) > Number(id!.split('-')[1]))
      id = passed.id
    }
    t.ok(performance.now() - began < 4 * (200 + 5000))
    t.notMatch(stream.text(), /^:/m)
    stream.close()
    const again = await openStream(t, `${service.url}/v1/stream`, {
      token,
      headers: { 'last-event-id': id! }
    })
    t.match(await again.until(() => true), { event: 'ready', id, data: { resumed: true } })
  }
)

t.test('a lifetime beyond the longest timer does not end the stream at once', async (t) => {
  await eventually(async () => (await connectionsOf(service)).active === 0)
  const now = Math.floor(Date.now() / 1000)
  const streams = await Promise.all(
    [30 * DAY_S, 1000 * DAY_S, 1e11].map((left, n) =>
      openStream(t, `${service.url}/v1/stream`, { token: jwt({ sub: `u${n}`, exp: now + left }) })
    )
  )
  await publish(service, { to: { user: 'u0' }, title: 'long', ttl: 60 * DAY_S })
  for (const stream of streams) await beat(stream, 3)
  t.match(await connectionsOf(service), { active: 3 })
  const inbox = await call('GET', `${service.url}/v1/inbox`, {
    key: jwt({ sub: 'u0', exp: now + 30 * DAY_S })
  })
  t.match(inbox.body.items, [{ title: 'long' }])
})

t.test('after the process itself stalls, no client is closed as slow', async (t) => {
  await eventually(async () => (await connectionsOf(service)).active === 0)
  const quiet = await openStream(t, `${service.url}/v1/stream`, { token: tokenOf('quiet') })
  const slow = await openStream(t, `${service.url}/v1/stream`, {
    token: tokenOf('slow', ['big'])
  })
  await Promise.all([quiet, slow].map((stream) => stream.until((f) => f.event === 'ready')))
  slow.pause()
  const notifications = Array.from({ length: 50 }, () => ({
    to: { topic: 'big' },
    type: 't',
    data: { pad: 'y'.repeat(14_000) }
  }))
  let published = 0
  // The client is behind, but for less than STALL_MS.
  while ((await connectionsOf(service)).slow === 0) {
    await call('POST', `${service.url}/v1/notifications/batch`, {
      key: PUBLISH_KEY,
      body: { notifications }
    })
    published += notifications.length
  }
  service.child.kill('SIGSTOP')
  await new Promise((resolve) => setTimeout(resolve, 4_700))
  service.child.kill('SIGCONT')
  slow.resume()
  await eventually(() => slow.frames.filter((f) => f.event === 'notification').length === published)
  await beat(quiet, 2)
  await beat(slow, 2)
  const { active, closed } = await connectionsOf(service)
  t.equal(active, 2)
  t.strictSame(Object.keys(closed), ['gone'], 'by those of the tests before')
})

t.test('moving the wall clock ends no stream and stops no heartbeat', async (t) => {
  await eventually(async () => (await connectionsOf(service)).active === 0)
  const stream = await openStream(t, `${service.url}/v1/stream`, {
    token: jwt({ sub: 'u1', exp: Math.floor(Date.now() / 1000) + 600 })
  })
  await stream.until((f) => f.event === 'ready')
  for (let turn = 1; turn <= 3; turn++) {
    service.child.kill('SIGUSR2')
    await eventually(() => service.output().includes(`stepped ${turn}`))
    await beat(stream, 3)
    t.equal((await publish(service, { to: { user: 'u1' }, data: { turn } })).status, 201)
    await stream.until((f) => f.data.item?.data?.turn === turn)
  }
  const seqs = stream.frames.map((f) => Number(f.id!.split('-')[1]))
  t.strictSame(
    seqs,
    seqs.toSorted((a, b) => a - b),
    'no cursor goes back'
  )
  t.match(await connectionsOf(service), { active: 1 })
})
