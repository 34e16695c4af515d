import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'

/** Milliseconds; all 0 if nothing was recorded. */
export interface LatencySummary {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** Six steps of ten seconds make the last minute; a seventh is being filled. */
const GENERATIONS = 7
/**
 * Microseconds, up to ten minutes, with two significant figures, which is all that anyone acts on.
 */
const RANGE = { lowest: 1, highest: 600_000_000, figures: 2 }
const merged = createHistogram(RANGE)

/** Durations of the last minute. */
export class Latency {
  readonly #past: RecordableHistogram[] = Array.from({ length: GENERATIONS - 1 }, () =>
    createHistogram(RANGE)
  )
  readonly #listeners: ((ms: number) => void)[] = []
  #now: RecordableHistogram = createHistogram(RANGE)

  /** Calls `listener` with each duration, in milliseconds; for histograms kept elsewhere. */
  onRecord(listener: (ms: number) => void): void {
    this.#listeners.push(listener)
  }

  record(ms: number): void {
    this.#now.record(Math.min(RANGE.highest, Math.max(1, Math.round(ms * 1000))))
    for (const listener of this.#listeners) listener(ms)
  }

  /** Call every ten seconds. */
  rotate(): void {
    this.#past.push(this.#now)
    this.#now = this.#past.shift() ?? createHistogram(RANGE)
    this.#now.reset()
  }

  /** How many durations there are. */
  get count(): number {
    return this.#past.reduce((sum, one) => sum + one.count, this.#now.count)
  }

  summary(): LatencySummary {
    merged.reset()
    for (const one of this.#past) merged.add(one)
    merged.add(this.#now)
    return summaryOf(merged)
  }

  /** The summary of the step that is being filled. */
  latest(): LatencySummary {
    return summaryOf(this.#now)
  }
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
