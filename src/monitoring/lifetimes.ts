import {
  LIFETIMES_A_SECOND,
  LIFETIMES_MS,
  MAX_LIFETIME_S,
  MIN_LIFETIME_S
} from '../bounds/limits.ts'

/** A lifetime that many streams share. */
export interface SharedLifetime {
  readonly seconds: number
  /** Streams that ended at that age lately. */
  readonly ended: number
  /** Their share of all streams that ended recently, 0–1. */
  readonly share: number
}

/**
 * A lifetime of a second more or less counts as the same: clocks are rounded, and timers are late.
 */
const BAND = 1

/**
 * How old streams were when the other side closed them. People close pages at any age; if most
 * streams end at the same age, a time-out ends them. One counter for each second of age, in two
 * generations that take turns: constant time and memory.
 */
export class Lifetimes {
  readonly #thisSecond = new Uint8Array(MAX_LIFETIME_S + 1)
  #now = new Uint32Array(MAX_LIFETIME_S + 1)
  #before = new Uint32Array(MAX_LIFETIME_S + 1)
  #turnedAt = 0

  /** The other side closed a stream at this age. */
  record(ageMs: number): void {
    // Longer ones are counted together, so that they count in the share.
    const seconds = Math.min(MAX_LIFETIME_S, Math.round(ageMs / 1000))
    if (this.#thisSecond[seconds]! >= LIFETIMES_A_SECOND) return
    this.#thisSecond[seconds]!++
    this.#now[seconds]!++
  }

  /** Call every second; `now` is monotonic milliseconds. */
  tick(now: number): void {
    this.#thisSecond.fill(0)
    if (now - this.#turnedAt < LIFETIMES_MS / 2) return
    this.#turnedAt = now
    const old = this.#before
    this.#before = this.#now
    this.#now = old.fill(0)
  }

  /** The most common lifetime; null: no stream ended recently. */
  shared(): SharedLifetime | null {
    const at = (seconds: number): number => this.#now[seconds]! + this.#before[seconds]!
    let total = 0
    let best = MIN_LIFETIME_S
    for (let seconds = 0; seconds <= MAX_LIFETIME_S; seconds++) {
      total += at(seconds)
      if (seconds >= MIN_LIFETIME_S && seconds < MAX_LIFETIME_S && at(seconds) > at(best))
        best = seconds
    }
    if (at(best) === 0) return null
    let ended = 0
    for (let seconds = best - BAND; seconds <= Math.min(best + BAND, MAX_LIFETIME_S - 1); seconds++)
      ended += at(seconds)
    return { seconds: best, ended, share: ended / total }
  }
}
