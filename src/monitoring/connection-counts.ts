import { CLOSE_REASONS, type CloseReason, type Refusal } from '../delivery/goodbye.ts'
import type { Sink } from '../delivery/sink.ts'
import { Count, CountBy } from './counts.ts'
import { Lifetimes } from './lifetimes.ts'

type Transport = Sink['transport']

const REFUSALS = ['drain', 'limit', 'unavailable'] as const satisfies Refusal[]

/** Seconds over which the most open connections are remembered; the current one comes on top. */
const PEAK_SECONDS = 61

/** How connections come and go. */
export class ConnectionCounts {
  readonly opened = new Count()
  readonly closedBy = new CountBy(Object.keys(CLOSE_REASONS))
  readonly refusedBy = new CountBy(REFUSALS)
  /** Streams and sockets that arrived, admitted or refused; polls come and go by their nature. */
  readonly arrivals = new Count()
  readonly lifetimes = new Lifetimes()
  #peak = 0
  #peakThisSecond = 0
  /** The most open connections of each second of the last minute. */
  readonly #peaks: number[] = []

  /** The most that were open at once since the start. */
  get peak(): number {
    return this.#peak
  }

  /** The most that were open at once in the last minute. */
  get peakOfMinute(): number {
    return Math.max(0, ...this.#peaks)
  }

  /** A connection opened; `active` is how many are open now, this one included. */
  open(transport: Transport, active: number): void {
    this.opened.add()
    if (transport !== 'poll') this.arrivals.add()
    this.#peak = Math.max(this.#peak, active)
    this.#peakThisSecond = Math.max(this.#peakThisSecond, active)
  }

  close(transport: Transport, reason: CloseReason, ageMs: number): void {
    // A poll that is answered ends as it should: it is not counted.
    if (reason === 'closed' && transport === 'poll') return
    this.closedBy.add(reason)
    if (reason === 'gone' && transport !== 'poll') this.lifetimes.record(ageMs)
  }

  refuse(reason: Refusal): void {
    this.refusedBy.add(reason)
    this.arrivals.add()
  }

  /** Call every second; `now` is monotonic milliseconds, `active` what is open. */
  tick(now: number, active: number): void {
    this.#peaks.push(this.#peakThisSecond)
    if (this.#peaks.length > PEAK_SECONDS) this.#peaks.shift()
    this.#peakThisSecond = active
    this.lifetimes.tick(now)
  }
}
