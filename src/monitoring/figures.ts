import { createHistogram, monitorEventLoopDelay, type RecordableHistogram } from 'node:perf_hooks'
import {
  HISTORY_POINTS,
  HISTORY_STEP_MS,
  MAX_ERROR_MESSAGE,
  RECENT_ERRORS
} from '../bounds/limits.ts'
import type { CloseReason } from '../delivery/close-reason.ts'
import type { Sink } from '../delivery/sink.ts'
import type { Census } from './connection-summary.ts'
import { Lifetimes } from './lifetimes.ts'
import { ProducerMinute } from './producer-minute.ts'

interface ErrorCode {
  count: number
  readonly firstAt: number
  lastAt: number
  lastMessage: string
}

export interface RecentError {
  readonly at: number
  readonly code: string
  readonly message: string
  readonly connection?: string
}

/** One point of the last hour: how it stood, and what happened in the ten seconds before it. Milliseconds from publish to write. */
export interface HistoryPoint {
  readonly at: number
  readonly active: number
  readonly users: number
  readonly stale: number
  readonly slow: number
  readonly published: number
  readonly frames: number
  readonly errors: number
  readonly p50: number
  readonly p99: number
  readonly heartbeatLagMs: number
}

/** How often something happened in the last minute. */
export interface PerMinute {
  readonly errors: number
  readonly resets: number
  /** Cursors of this log whose place it does not have. */
  readonly undone: number
  /** Connections closed as `slow`. */
  readonly slowCloses: number
  /** Streams and sockets that came, let in or not; polls come and go by their nature. */
  readonly arrivals: number
  /** The most connections that were open at one moment. */
  readonly mostActive: number
}

/** Six steps of ten seconds make the last minute, and one is being filled. */
const GENERATIONS = 7
/** Microseconds up to ten minutes, to a hundredth: nobody acts on less. */
const RANGE = { lowest: 1, highest: 600_000_000, figures: 2 }
const merged = createHistogram(RANGE)

/** Microseconds recorded, milliseconds told; of the last minute. */
export class Latency {
  /** Hears of each duration too, in milliseconds; for histograms that others keep. */
  observe: ((ms: number) => void) | undefined
  readonly #past: RecordableHistogram[] = Array.from({ length: GENERATIONS - 1 }, () =>
    createHistogram(RANGE)
  )
  #now: RecordableHistogram = createHistogram(RANGE)

  record(ms: number): void {
    this.#now.record(Math.min(RANGE.highest, Math.max(1, Math.round(ms * 1000))))
    this.observe?.(ms)
  }

  /** Every ten seconds. */
  rotate(): void {
    const oldest = this.#past.shift()!
    this.#past.push(this.#now)
    oldest.reset()
    this.#now = oldest
  }

  /** How many there were. */
  get count(): number {
    return this.#past.reduce((sum, one) => sum + one.count, this.#now.count)
  }

  summary(): LatencySummary {
    merged.reset()
    for (const one of this.#past) merged.add(one)
    merged.add(this.#now)
    return summaryOf(merged)
  }

  /** Of the step that is being filled. */
  latest(): LatencySummary {
    return summaryOf(this.#now)
  }
}

/** Milliseconds. */
export interface LatencySummary {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

function summaryOf(histogram: RecordableHistogram): LatencySummary {
  if (histogram.count === 0) return { p50: 0, p99: 0, max: 0 }
  const ms = (us: number): number => Math.round(us) / 1000
  return {
    p50: ms(histogram.percentile(50)),
    p99: ms(histogram.percentile(99)),
    max: ms(histogram.max)
  }
}

interface Sample {
  readonly at: number
  readonly frames: number
  readonly accepted: number
  readonly errors: number
  readonly resets: number
  readonly undone: number
  readonly slowCloses: number
  readonly arrivals: number
  /** The most since the sample before. */
  readonly mostActive: number
  readonly storeFailures: number
}

const LOOP_RESOLUTION_MS = 20
const NOBODY: Census = {
  active: 0,
  users: 0,
  byTransport: { sse: 0, websocket: 0, poll: 0 },
  stale: 0,
  slow: 0,
  bufferedBytes: 0,
  onlyAddress: null,
  heartbeatLagMs: 0
}

/** Counters, rates and the hour's history: what `/monitor` tells. Durations are milliseconds. */
export class Stats {
  readonly startedAt = Date.now()
  readonly publishToWrite = new Latency()
  readonly publishAck = new Latency()
  /** Commits of the store, where it has such a thing. */
  readonly commit = new Latency()
  frames = 0
  replayed = 0
  resets = 0
  undone = 0
  peak = 0
  openedTotal = 0
  accepted = 0
  replayedPublishes = 0
  /** Notifications that were refused, or requests for some that were refused as a whole, by slug of the problem. */
  readonly rejectedBy = new Map<string, number>()
  readonly producers = new ProducerMinute()
  errorsTotal = 0
  /** Requests that the store failed within the last ten seconds or so, and how the last of all failed. */
  storeFailuresLately = 0
  lastStoreFailure: string | undefined
  framesPerSecond = 0
  acceptedPerSecond = 0
  perMinute: PerMinute = {
    errors: 0,
    resets: 0,
    undone: 0,
    slowCloses: 0,
    arrivals: 0,
    mostActive: 0
  }
  /** Mean lateness of the event loop in the last seconds. */
  eventLoopLagMs = 0
  /** How long nothing was accepted, and the longest such time before it; null before the first. */
  silenceMs: number | null = null
  longestSilenceMs = 0
  /** The last walk over the connections, at most a second or so old. */
  census: Census
  readonly lifetimes = new Lifetimes()
  /** These are bounded by what this program calls reasons and codes. */
  readonly closedBy = new Map<CloseReason, number>()
  readonly refusedBy = new Map<string, number>()
  readonly errorCodes = new Map<string, ErrorCode>()
  readonly recent: RecentError[] = []
  readonly history: HistoryPoint[] = []
  readonly #takeCensus: () => Census
  readonly #loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS })
  readonly #samples: Sample[] = []
  #arrivals = 0
  #mostActive = 0
  #acceptedAt = 0
  #storeFailures = 0
  #timer: NodeJS.Timeout | undefined
  #ticks = 0
  #historyBase = { accepted: 0, frames: 0, errors: 0 }
  #cpuBase = process.cpuUsage()
  #cpuAt = performance.now()
  cpu = 0

  constructor(takeCensus: () => Census) {
    this.#takeCensus = takeCensus
    this.census = NOBODY
  }

  /** `everySecond` runs once the figures are those of this second. */
  start(everySecond: () => void = () => {}): void {
    this.#loop.enable()
    this.#samples.push(this.#sample(performance.now()))
    this.#timer ??= setInterval(() => {
      this.#second()
      everySecond()
    }, 1000).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#loop.disable()
  }

  get errorsPerMinute(): number {
    return this.perMinute.errors
  }

  /** All that {@link rejectedBy} counts. */
  get rejected(): number {
    let sum = 0
    for (const count of this.rejectedBy.values()) sum += count
    return sum
  }

  /** Publishes were refused; `producer` is whose fault it was, undefined if it was nobody's that has a key. */
  rejectedPublishes(problem: string, count: number, producer: string | undefined): void {
    this.rejectedBy.set(problem, (this.rejectedBy.get(problem) ?? 0) + count)
    if (producer !== undefined) this.producers.refused(producer, problem, count)
  }

  opened(active: number, transport: Sink['transport']): void {
    this.openedTotal++
    if (transport !== 'poll') this.#arrivals++
    if (active > this.peak) this.peak = active
    if (active > this.#mostActive) this.#mostActive = active
  }

  closed(reason: CloseReason, transport: Sink['transport'], ageMs: number): void {
    // A poll that is answered ends as it should: that is no news.
    if (reason === 'closed' && transport === 'poll') return
    this.closedBy.set(reason, (this.closedBy.get(reason) ?? 0) + 1)
    if (reason === 'gone' && transport !== 'poll') this.lifetimes.record(ageMs)
  }

  refused(reason: string): void {
    this.refusedBy.set(reason, (this.refusedBy.get(reason) ?? 0) + 1)
    this.#arrivals++
  }

  /** Counts an error; `code` comes from a fixed set, `message` never holds a secret and is kept as far as a person reads it. */
  error(code: string, whole: string, connection?: string): void {
    const message =
      whole.length > MAX_ERROR_MESSAGE ? `${whole.slice(0, MAX_ERROR_MESSAGE)}…` : whole
    this.errorsTotal++
    const known = this.errorCodes.get(code)
    const at = Date.now()
    if (known) {
      known.count++
      known.lastAt = at
      known.lastMessage = message
    } else this.errorCodes.set(code, { count: 1, firstAt: at, lastAt: at, lastMessage: message })
    this.recent.push({ at, code, message, ...(connection === undefined ? {} : { connection }) })
    if (this.recent.length > RECENT_ERRORS) this.recent.shift()
  }

  /** A request failed since the store did not do its part. */
  storeFailed(message: string): void {
    this.#storeFailures++
    this.lastStoreFailure = message
  }

  #second(): void {
    const now = performance.now()
    const newest = this.#sample(now)
    this.#noteSilence(now, newest.accepted > (this.#samples.at(-1)?.accepted ?? 0))
    this.#samples.push(newest)
    if (this.#samples.length > 61) this.#samples.shift()
    const tenAgo = this.#samples.at(-11) ?? this.#samples[0]!
    const oldest = this.#samples[0]!
    const seconds = Math.max(1, (newest.at - tenAgo.at) / 1000)
    this.framesPerSecond = Math.round(((newest.frames - tenAgo.frames) / seconds) * 10) / 10
    this.acceptedPerSecond = Math.round(((newest.accepted - tenAgo.accepted) / seconds) * 10) / 10
    this.perMinute = {
      errors: newest.errors - oldest.errors,
      resets: newest.resets - oldest.resets,
      undone: newest.undone - oldest.undone,
      slowCloses: newest.slowCloses - oldest.slowCloses,
      arrivals: newest.arrivals - oldest.arrivals,
      mostActive: this.#samples.reduce((most, one) => Math.max(most, one.mostActive), 0)
    }
    this.storeFailuresLately = newest.storeFailures - tenAgo.storeFailures
    this.census = this.#takeCensus()
    this.#mostActive = this.census.active
    this.lifetimes.tick(now)
    this.producers.tick()
    const { mean } = this.#loop
    this.eventLoopLagMs = Number.isFinite(mean)
      ? Math.max(0, Math.round(mean / 1e4 - LOOP_RESOLUTION_MS * 100) / 100)
      : 0
    const used = process.cpuUsage(this.#cpuBase)
    this.cpu =
      Math.round(((used.user + used.system) / 1000 / Math.max(1, now - this.#cpuAt)) * 1000) / 1000
    this.#cpuBase = process.cpuUsage()
    this.#cpuAt = now
    this.#ticks++
    if (this.#ticks % (HISTORY_STEP_MS / 1000) !== 0) return
    this.#point()
    this.publishToWrite.rotate()
    this.publishAck.rotate()
    this.commit.rotate()
    this.#loop.reset()
  }

  #sample(at: number): Sample {
    return {
      at,
      frames: this.frames,
      accepted: this.accepted,
      errors: this.errorsTotal,
      resets: this.resets,
      undone: this.undone,
      slowCloses: this.closedBy.get('slow') ?? 0,
      arrivals: this.#arrivals,
      mostActive: this.#mostActive,
      storeFailures: this.#storeFailures
    }
  }

  #noteSilence(now: number, accepted: boolean): void {
    if (this.silenceMs !== null) this.silenceMs = now - this.#acceptedAt
    if (!accepted) return
    this.longestSilenceMs = Math.max(this.longestSilenceMs, this.silenceMs ?? 0)
    this.silenceMs = 0
    this.#acceptedAt = now
  }

  #point(): void {
    const base = this.#historyBase
    const { active, users, stale, slow, heartbeatLagMs } = this.census
    const { p50, p99 } = this.publishToWrite.latest()
    this.history.push({
      at: Date.now(),
      active,
      users,
      stale,
      slow,
      published: this.accepted - base.accepted,
      frames: this.frames - base.frames,
      errors: this.errorsTotal - base.errors,
      p50,
      p99,
      heartbeatLagMs: Math.round(heartbeatLagMs * 10) / 10
    })
    if (this.history.length > HISTORY_POINTS) this.history.shift()
    this.#historyBase = { accepted: this.accepted, frames: this.frames, errors: this.errorsTotal }
  }
}
