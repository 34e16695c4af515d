/** What the wheel turns: one method. It never sees a socket. */
export interface Beating {
  /** Counts up from member to member. */
  readonly number: number
  /** Writes a heartbeat if one is due; true where it did. `now` is monotonic, milliseconds. */
  beat(now: number): boolean
}

/** Turns of the wheel are cut into so many slots at most. */
const MAX_SLOTS = 150
/** A tick shorter than this costs more than it spreads. */
const MIN_TICK_MS = 20

/**
 * One wheel for all connections: no timer per connection, beats spread over the interval, and its own lateness measured, so
 * that an operator can tell a stalled process from silent peers. A member that is removed is out in the same call.
 */
export class HeartbeatManager {
  readonly intervalMs: number
  sent = 0
  skipped = 0
  /** How late the last tick was, milliseconds. */
  lagMs = 0
  #worst = { since: 0, now: 0, before: 0 }
  readonly #slots: Set<Beating>[]
  readonly #tickMs: number
  readonly #afterTick: (now: number) => void
  #current = 0
  #dueAt = 0
  #timer: NodeJS.Timeout | undefined

  /** `afterTick` runs once a tick, for deadlines that need no timer of their own. */
  constructor(intervalMs: number, afterTick: (now: number) => void = () => {}) {
    this.intervalMs = intervalMs
    const slots = Math.max(1, Math.min(MAX_SLOTS, Math.floor(intervalMs / MIN_TICK_MS)))
    this.#slots = Array.from({ length: slots }, () => new Set<Beating>())
    this.#tickMs = intervalMs / slots
    this.#dueAt = this.#tickMs
    this.#afterTick = afterTick
  }

  /** The worst lateness of the last second or two: a single stall would be gone from `lagMs` a tick later. */
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

  #keepWorst(now: number): void {
    const worst = this.#worst
    if (now - worst.since >= 1000) {
      worst.before = worst.now
      worst.now = 0
      worst.since = now
    }
    if (this.lagMs > worst.now) worst.now = this.lagMs
  }

  /**
   * Its slot follows from its number, as its multiples of the golden ratio spread evenly over the wheel. After a restart
   * all clients open within seconds: the time of opening would have them beat within seconds ever after.
   */
  #slotOf({ number }: Beating): Set<Beating> {
    const turn = (Math.imul(number, 0x9e3779b1) >>> 0) / 2 ** 32
    return this.#slots[Math.floor(turn * this.#slots.length)]!
  }

  add(member: Beating): void {
    this.#slotOf(member).add(member)
  }

  remove(member: Beating): void {
    this.#slotOf(member).delete(member)
  }

  readonly #tick = (): void => {
    this.turn(performance.now())
    this.#timer = setTimeout(this.#tick, Math.max(1, this.#dueAt - performance.now()))
    this.#timer.unref()
  }

  /** Turns the wheel as far as is due at `now` (monotonic milliseconds); the timer calls it once a tick. */
  turn(now: number): void {
    this.lagMs = Math.max(0, now - this.#dueAt)
    this.#keepWorst(now)
    // After a stall catch up on what is due, but never more than one turn: nobody needs two heartbeats at once.
    const due = Math.min(this.#slots.length, 1 + Math.floor(this.lagMs / this.#tickMs))
    for (let i = 0; i < due; i++) {
      this.#current = (this.#current + 1) % this.#slots.length
      for (const member of this.#slots[this.#current]!) {
        if (member.beat(now)) this.sent++
        else this.skipped++
      }
    }
    this.#afterTick(now)
    this.#dueAt = Math.max(this.#dueAt + due * this.#tickMs, now)
  }
}
