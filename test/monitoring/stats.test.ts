import { test } from 'tap'
import { RECENT_ERRORS } from '../../src/bounds/limits.ts'
import { NO_CONNECTIONS } from '../../src/monitoring/connection-summary.ts'
import { Latency } from '../../src/monitoring/latency.ts'
import { Stats } from '../../src/monitoring/stats.ts'

/** Stats that run, and `second`, which resolves at their next tick. */
function running(t: { teardown(fn: () => unknown): void }) {
  const stats = new Stats({ problems: [], errorCodes: [] })
  let waiting: (() => void)[] = []
  stats.start({
    summarize: () => NO_CONNECTIONS,
    everySecond: () => {
      for (const resolve of waiting.splice(0)) resolve()
      waiting = []
    }
  })
  t.teardown(() => stats.stop())
  // The timer of the stats keeps no process alive; this one does.
  const alive = setInterval(() => {}, 1000)
  t.teardown(() => clearInterval(alive))
  return { stats, second: () => new Promise<void>((resolve) => waiting.push(resolve)) }
}

test('stats compute rates, counts of the last minute, and the pause between publishes', async (t) => {
  const { stats, second } = running(t)
  await second()
  t.equal(stats.publishes.silenceMs, null, 'nothing was published yet')
  stats.publishes.accept(30, 'app')
  stats.frames.add(300)
  stats.resets.add(2)
  stats.errors.add('internal', 'a fault')
  stats.storeFailed('the disk')
  stats.connections.open('sse', 1)
  stats.connections.open('poll', 2)
  stats.connections.refuse('limit')
  stats.connections.close('sse', 'slow', 1000)
  await second()
  t.equal(stats.publishes.silenceMs, 0)
  t.ok(
    stats.acceptedPerSecond > 5 && stats.acceptedPerSecond < 20,
    `${stats.acceptedPerSecond} a second over two`
  )
  t.ok(stats.framesPerSecond > 50 && stats.framesPerSecond < 200)
  t.strictSame(
    stats.perMinute,
    { errors: 1, resets: 2, undone: 0, slowCloses: 1, arrivals: 2, mostActive: 2 },
    'a poll comes and goes by its nature'
  )
  t.equal(stats.storeFailuresLately, 1)
  t.equal(stats.lastStoreFailure, 'the disk')
  await second()
  await second()
  const silence = stats.publishes.silenceMs ?? 0
  t.ok(silence > 1500 && silence < 10_000, `${silence} ms`)
  t.equal(stats.publishes.longestSilenceMs, 0)
  stats.publishes.accept(1, 'app')
  await second()
  t.ok(stats.publishes.longestSilenceMs > silence, 'the silence that ended is remembered')
  t.equal(stats.publishes.silenceMs, 0)
})

test('errors are counted by code, and the latest are kept', async (t) => {
  const stats = new Stats({ problems: [], errorCodes: [] })
  const before = Date.now()
  stats.errors.add('stream', 'first', 'node-1')
  for (let n = 0; n < 2 * RECENT_ERRORS; n++) stats.errors.add('internal', `${n}`)
  t.equal(stats.errors.total, 2 * RECENT_ERRORS + 1)
  t.match(stats.errors.byCode.get('stream'), { count: 1, lastMessage: 'first' })
  const internal = stats.errors.byCode.get('internal')!
  t.match(internal, { count: 2 * RECENT_ERRORS, lastMessage: `${2 * RECENT_ERRORS - 1}` })
  t.ok(internal.firstAt >= before && internal.lastAt >= internal.firstAt)
  t.equal(stats.errors.recent.length, RECENT_ERRORS)
  t.match(stats.errors.recent.at(-1), { code: 'internal', message: `${2 * RECENT_ERRORS - 1}` })
})

test('a latency summary covers the last minute', async (t) => {
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
