/** A member of the wheel, as the wheel sees it. */
export interface Beating {
  /** Sequential; determines the member's place. */
  readonly number: number
  /** Writes a heartbeat if one is due; true if it did. `now` is monotonic milliseconds. */
  beat(now: number): boolean
}

/** Maximum number of places. */
const MAX_PLACES = 150
/** Shortest tick, in milliseconds: a shorter one would cost more than it spreads. */
const MIN_TICK_MS = 20

/**
 * A wheel that turns once an interval and passes every connection, which then beats. No connection
 * has a timer of its own, and the beats spread over the interval. The wheel measures how late it
 * is, so an operator can tell a stalled process from silent clients.
 */
export class HeartbeatManager {
  readonly intervalMs: number
  #sent = 0
  #skipped = 0
  #lagMs = 0
  #worst = { since: 0, now: 0, before: 0 }
  readonly #places: Set<Beating>[]
  readonly #tickMs: number
  readonly #afterTick: (now: number) => void
  #current = 0
  #dueAt = 0
  #timer: NodeJS.Timeout | undefined

  /** `afterTick` is called once a tick, for deadlines that have no timer of their own. */
  constructor(intervalMs: number, afterTick: (now: number) => void = () => {}) {
    this.intervalMs = intervalMs
    const places = Math.max(1, Math.min(MAX_PLACES, Math.floor(intervalMs / MIN_TICK_MS)))
    this.#places = Array.from({ length: places }, () => new Set<Beating>())
    this.#tickMs = intervalMs / places
    this.#dueAt = this.#tickMs
    this.#afterTick = afterTick
  }

  /** Heartbeats that were written since the start. */
  get sent(): number {
    return this.#sent
  }

  /** Heartbeats that were not due, because a frame had just been written or the client lagged. */
  get skipped(): number {
    return this.#skipped
  }

  /** How late the last tick was, milliseconds. */
  get lagMs(): number {
    return this.#lagMs
  }

  /** The worst `lagMs` of the last second or two, which shows a stall for longer than one tick. */
  get worstLagMs(): number {
    return Math.max(this.#worst.now, this.#worst.before)
  }

  start(): void {
    if (this.#timer) return
    this.#dueAt = performance.now() + this.#tickMs
    this.#timer = setTimeout(this.#tick, this.#tickMs)
    this.#timer.unref()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  add(member: Beating): void {
    this.#placeOf(member).add(member)
  }

  /** Takes effect at once, even within the tick in which the member beats. */
  remove(member: Beating): void {
    this.#placeOf(member).delete(member)
  }

  /**
   * Multiples of the golden ratio spread evenly, however many members come at once. The time of
   * opening would not: after a restart all clients open within seconds.
   */
  #placeOf({ number }: Beating): Set<Beating> {
    const fraction = (Math.imul(number, 0x9e3779b1) >>> 0) / 2 ** 32
    return this.#places[Math.floor(fraction * this.#places.length)]!
  }

  readonly #tick = (): void => {
    this.turn(performance.now())
    this.#timer = setTimeout(this.#tick, Math.max(1, this.#dueAt - performance.now()))
    this.#timer.unref()
  }

  /** Turns the wheel as far as is due at `now` (monotonic milliseconds). The timer calls it. */
  turn(now: number): void {
    this.#lagMs = Math.max(0, now - this.#dueAt)
    this.#keepWorst(now)
    // After a stall it catches up, but by one turn at most: no client needs two heartbeats at once.
    const due = Math.min(this.#places.length, 1 + Math.floor(this.#lagMs / this.#tickMs))
    for (let i = 0; i < due; i++) {
      this.#current = (this.#current + 1) % this.#places.length
      for (const member of this.#places[this.#current]!) {
        if (member.beat(now)) this.#sent++
        else this.#skipped++
      }
    }
    this.#afterTick(now)
    this.#dueAt = Math.max(this.#dueAt + due * this.#tickMs, now)
  }

  #keepWorst(now: number): void {
    const worst = this.#worst
    if (now - worst.since >= 1000) {
      worst.before = worst.now
      worst.now = 0
      worst.since = now
    }
    if (this.#lagMs > worst.now) worst.now = this.#lagMs
  }
}
