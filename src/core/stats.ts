import { createHistogram, monitorEventLoopDelay, type RecordableHistogram } from 'node:perf_hooks'
import type { CloseReason } from './close-reason.ts'
import { HISTORY_POINTS, HISTORY_STEP_MS, RECENT_ERRORS } from './limits.ts'

interface ErrorCode {
  count: number
  lastAt: number
  lastMessage: string
}

export interface RecentError {
  readonly at: number
  readonly code: string
  readonly message: string
  readonly connection?: string
}

/** One point of the last hour; rates are totals of the ten seconds before it. */
export interface HistoryPoint {
  readonly at: number
  readonly active: number
  readonly published: number
  readonly frames: number
  readonly errors: number
}

/** Microseconds recorded, milliseconds told; the last minute or two: two histograms take turns. */
class Latency {
  #now: RecordableHistogram = createHistogram()
  #before: RecordableHistogram = createHistogram()

  record(ms: number): void {
    this.#now.record(Math.max(1, Math.round(ms * 1000)))
  }

  rotate(): void {
    const old = this.#before
    this.#before = this.#now
    old.reset()
    this.#now = old
  }

  summary(): { p50: number; p99: number; max: number } {
    const both = createHistogram()
    both.add(this.#before)
    both.add(this.#now)
    if (both.count === 0) return { p50: 0, p99: 0, max: 0 }
    const ms = (us: number): number => Math.round(us) / 1000
    return { p50: ms(both.percentile(50)), p99: ms(both.percentile(99)), max: ms(both.max) }
  }
}

/** Counters, rates and the hour's history: what `/monitor` tells. Durations are milliseconds. */
export class Stats {
  readonly startedAt = Date.now()
  readonly publishToWrite = new Latency()
  readonly publishAck = new Latency()
  frames = 0
  replayed = 0
  resets = 0
  peak = 0
  openedTotal = 0
  accepted = 0
  replayedPublishes = 0
  rejected = 0
  errorsTotal = 0
  framesPerSecond = 0
  acceptedPerSecond = 0
  errorsPerMinute = 0
  readonly closedBy = new Map<CloseReason, number>()
  readonly refusedBy = new Map<string, number>()
  readonly errorCodes = new Map<string, ErrorCode>()
  readonly recent: RecentError[] = []
  readonly history: HistoryPoint[] = []
  readonly #active: () => number
  readonly #loop = monitorEventLoopDelay({ resolution: 20 })
  readonly #samples: { at: number; frames: number; accepted: number; errors: number }[] = []
  #timer: NodeJS.Timeout | undefined
  #ticks = 0
  #historyBase = { accepted: 0, frames: 0, errors: 0 }
  #cpuBase = process.cpuUsage()
  #cpuAt = performance.now()
  cpu = 0

  constructor(active: () => number) {
    this.#active = active
  }

  start(): void {
    this.#loop.enable()
    this.#timer ??= setInterval(() => this.#second(), 1000).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#loop.disable()
  }

  get eventLoopLagMs(): number {
    const mean = this.#loop.mean
    return Number.isFinite(mean) ? Math.max(0, Math.round(mean / 1e4) / 100 - 20) : 0
  }

  opened(active: number): void {
    this.openedTotal++
    if (active > this.peak) this.peak = active
  }

  closed(reason: CloseReason): void {
    this.closedBy.set(reason, (this.closedBy.get(reason) ?? 0) + 1)
  }

  refused(reason: string): void {
    this.refusedBy.set(reason, (this.refusedBy.get(reason) ?? 0) + 1)
  }

  /** Counts an error; `code` comes from a fixed set, `message` never holds a secret. */
  error(code: string, message: string, connection?: string): void {
    this.errorsTotal++
    const known = this.errorCodes.get(code)
    const at = Date.now()
    if (known) {
      known.count++
      known.lastAt = at
      known.lastMessage = message
    } else this.errorCodes.set(code, { count: 1, lastAt: at, lastMessage: message })
    this.recent.push({ at, code, message, ...(connection === undefined ? {} : { connection }) })
    if (this.recent.length > RECENT_ERRORS) this.recent.shift()
  }

  #second(): void {
    const now = performance.now()
    this.#samples.push({ at: now, frames: this.frames, accepted: this.accepted, errors: this.errorsTotal })
    if (this.#samples.length > 61) this.#samples.shift()
    const newest = this.#samples.at(-1)!
    const tenAgo = this.#samples.at(-11) ?? this.#samples[0]!
    const oldest = this.#samples[0]!
    const seconds = Math.max(1, (newest.at - tenAgo.at) / 1000)
    this.framesPerSecond = Math.round(((newest.frames - tenAgo.frames) / seconds) * 10) / 10
    this.acceptedPerSecond = Math.round(((newest.accepted - tenAgo.accepted) / seconds) * 10) / 10
    this.errorsPerMinute = newest.errors - oldest.errors
    const used = process.cpuUsage(this.#cpuBase)
    this.cpu = Math.round(((used.user + used.system) / 1000 / Math.max(1, now - this.#cpuAt)) * 1000) / 1000
    this.#cpuBase = process.cpuUsage()
    this.#cpuAt = now
    this.#ticks++
    if (this.#ticks % 60 === 0) {
      this.publishToWrite.rotate()
      this.publishAck.rotate()
      this.#loop.reset()
    }
    if (this.#ticks % (HISTORY_STEP_MS / 1000) === 0) this.#point()
  }

  #point(): void {
    const base = this.#historyBase
    this.history.push({
      at: Date.now(),
      active: this.#active(),
      published: this.accepted - base.accepted,
      frames: this.frames - base.frames,
      errors: this.errorsTotal - base.errors
    })
    if (this.history.length > HISTORY_POINTS) this.history.shift()
    this.#historyBase = { accepted: this.accepted, frames: this.frames, errors: this.errorsTotal }
  }
}
