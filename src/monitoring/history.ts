import { HISTORY_POINTS } from '../bounds/limits.ts'

/** Counts since the start, of which a point shows the growth. */
interface Totals {
  readonly published: number
  readonly frames: number
  readonly errors: number
}

/** What a point shows as it is at that moment. */
interface Readings {
  readonly active: number
  readonly users: number
  readonly stale: number
  readonly slow: number
}

/** One step of ten seconds: how things stood at its end, and what happened in it. */
export interface HistoryPoint extends Readings, Totals {
  /** Milliseconds since 1970. */
  readonly at: number
  /** Milliseconds from publish to write. */
  readonly p50: number
  readonly p99: number
  readonly heartbeatLagMs: number
}

/** The last hour, a point every ten seconds. */
export class History {
  readonly #points: HistoryPoint[] = []
  #before: Totals = { published: 0, frames: 0, errors: 0 }

  /** Oldest first. */
  get points(): readonly HistoryPoint[] {
    return this.#points
  }

  add(
    { active, users, stale, slow, heartbeatLagMs }: Readings & { readonly heartbeatLagMs: number },
    totals: Totals,
    { p50, p99 }: { readonly p50: number; readonly p99: number }
  ): void {
    this.#points.push({
      at: Date.now(),
      active,
      users,
      stale,
      slow,
      published: totals.published - this.#before.published,
      frames: totals.frames - this.#before.frames,
      errors: totals.errors - this.#before.errors,
      p50,
      p99,
      heartbeatLagMs: Math.round(heartbeatLagMs * 10) / 10
    })
    if (this.#points.length > HISTORY_POINTS) this.#points.shift()
    this.#before = totals
  }
}
