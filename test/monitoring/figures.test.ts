import { test } from 'tap'
import { RECENT_ERRORS } from '../../src/bounds/limits.ts'
import { Latency, Stats } from '../../src/monitoring/figures.ts'

const NOBODY = {
  active: 0,
  users: 0,
  byTransport: { sse: 0, websocket: 0, poll: 0 },
  stale: 0,
  slow: 0,
  bufferedBytes: 0,
  onlyAddress: null,
  heartbeatLagMs: 0
}

/** Figures that are taken every second, and the next time that they are. */
function running(t: { teardown(fn: () => unknown): void }) {
  const stats = new Stats(() => NOBODY)
  let waiting: (() => void)[] = []
  stats.start(() => {
    for (const resolve of waiting.splice(0)) resolve()
    waiting = []
  })
  t.teardown(() => stats.stop())
  // The timer of the figures keeps no process alive; this one does.
  const alive = setInterval(() => {}, 1000)
  t.teardown(() => clearInterval(alive))
  return { stats, second: () => new Promise<void>((resolve) => waiting.push(resolve)) }
}

test('rates, the last minute, and how long nothing was accepted', async (t) => {
  const { stats, second } = running(t)
  await second()
  t.equal(stats.silenceMs, null, 'nothing ever was')
  stats.accepted += 30
  stats.frames += 300
  stats.resets += 2
  stats.error('internal', 'a fault')
  stats.storeFailed('the disk')
  stats.opened(1, 'sse')
  stats.opened(2, 'poll')
  stats.refused('limit')
  stats.closed('slow', 'sse', 1000)
  await second()
  t.equal(stats.silenceMs, 0)
  t.ok(
    stats.acceptedPerSecond > 10 && stats.acceptedPerSecond < 20,
    `${stats.acceptedPerSecond} a second over two`
  )
  t.ok(stats.framesPerSecond > 100 && stats.framesPerSecond < 200)
  t.strictSame(
    stats.perMinute,
    { errors: 1, resets: 2, undone: 0, slowCloses: 1, arrivals: 2, mostActive: 2 },
    'a poll comes and goes by its nature'
  )
  t.equal(stats.storeFailuresLately, 1)
  t.equal(stats.lastStoreFailure, 'the disk')
  await second()
  await second()
  const silence = stats.silenceMs ?? 0
  t.ok(silence > 1500 && silence < 3000, `${silence} ms`)
  t.equal(stats.longestSilenceMs, 0)
  stats.accepted++
  await second()
  t.ok(stats.longestSilenceMs > silence, 'the silence that ended is remembered')
  t.equal(stats.silenceMs, 0)
})

test('errors: count, first, last and last message by code; the latest one by one', async (t) => {
  const stats = new Stats(() => NOBODY)
  const before = Date.now()
  stats.error('stream', 'first', 'node-1')
  for (let n = 0; n < 2 * RECENT_ERRORS; n++) stats.error('internal', `${n}`)
  t.equal(stats.errorsTotal, 2 * RECENT_ERRORS + 1)
  t.match(stats.errorCodes.get('stream'), { count: 1, lastMessage: 'first' })
  const internal = stats.errorCodes.get('internal')!
  t.match(internal, { count: 2 * RECENT_ERRORS, lastMessage: `${2 * RECENT_ERRORS - 1}` })
  t.ok(internal.firstAt >= before && internal.lastAt >= internal.firstAt)
  t.equal(stats.recent.length, RECENT_ERRORS)
  t.match(stats.recent.at(-1), { code: 'internal', message: `${2 * RECENT_ERRORS - 1}` })
})

test('latencies are of the last minute', async (t) => {
  const latency = new Latency()
  t.strictSame(latency.summary(), { p50: 0, p99: 0, max: 0 })
  for (let ms = 1; ms <= 100; ms++) latency.record(ms)
  const { p50, p99, max } = latency.summary()
  t.ok(
    Math.abs(p50 - 50) < 1 && Math.abs(p99 - 99) < 2 && Math.abs(max - 100) < 2,
    `${p50} ${p99} ${max}`
  )
  for (let step = 0; step < 6; step++) latency.rotate()
  t.equal(latency.count, 100, 'six steps of ten seconds later they still count')
  latency.rotate()
  t.equal(latency.count, 0)
})
