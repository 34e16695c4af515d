import { MAX_TIMER_MS, REDIS_SWEEP_PAUSE_MS } from '../../bounds/limits.ts'
import type { FollowedEvent } from '../../log/event.ts'
import type { LogCalls } from './log-calls.ts'
import type { RedisLog } from './redis-log.ts'
import { momentOr, numberOf } from './replies.ts'

const HOUR_MS = 60 * 60 * 1000
const DAY_MS = 24 * HOUR_MS
/** Pause before the next sweep if one failed. */
const RETRY_MS = 1000

/** Removes entries of a log when they expire, and once an hour those beyond retention. */
export class Sweeper {
  readonly #calls: LogCalls
  readonly #log: RedisLog
  readonly #retentionDays: number
  readonly #onError: (error: unknown) => void
  readonly #hourly: NodeJS.Timeout
  #timer: NodeJS.Timeout | undefined
  /** When the next entry expires, in milliseconds since 1970, as far as this process knows. */
  #nextExpiry = Number.POSITIVE_INFINITY
  /** The expiry that the timer is set to. */
  #timerFor = Number.POSITIVE_INFINITY
  #closed = false

  /** `retentionDays` 0: entries are kept for ever. */
  constructor(
    calls: LogCalls,
    log: RedisLog,
    retentionDays: number,
    onError: (error: unknown) => void
  ) {
    this.#calls = calls
    this.#log = log
    this.#retentionDays = retentionDays
    this.#onError = onError
    this.#hourly = setInterval(() => void this.sweep(), HOUR_MS).unref()
  }

  /** The log was opened. Its next entry expires at `nextExpiry`, milliseconds since 1970. */
  opened(nextExpiry: number): void {
    this.#nextExpiry = nextExpiry
    this.#schedule()
  }

  /** The log was followed by these events. */
  followed(events: readonly FollowedEvent[]): void {
    for (const event of events) {
      if ('entry' in event && event.entry.expiresAt !== undefined)
        this.#nextExpiry = Math.min(this.#nextExpiry, event.entry.expiresAt)
    }
    this.#schedule()
  }

  /** Removes what has expired and what is beyond retention, slice by slice. */
  async sweep(): Promise<void> {
    const days = this.#retentionDays
    while (
      !this.#closed &&
      (await this.#sweepSlice(days === 0 ? '' : String(Date.now() - days * DAY_MS)))
    );
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#hourly)
    clearTimeout(this.#timer)
  }

  #schedule(): void {
    if (this.#closed || this.#nextExpiry === this.#timerFor) return
    this.#timerFor = this.#nextExpiry
    clearTimeout(this.#timer)
    if (this.#nextExpiry === Number.POSITIVE_INFINITY) return
    const wait = Math.min(Math.max(this.#nextExpiry - Date.now(), 0), MAX_TIMER_MS)
    this.#timer = setTimeout(() => void this.#sweepSlice(''), wait).unref()
  }

  /**
   * `oldest`: entries from before this moment are beyond retention; empty: none. True if more is
   * left.
   */
  async #sweepSlice(oldest: string): Promise<boolean> {
    try {
      const [, nextExpiry, more, floor] = await this.#calls.write('sweep', [oldest])
      this.#log.swept(numberOf(floor))
      const next = momentOr(Number.POSITIVE_INFINITY, nextExpiry)
      // The clock of Redis may be behind ours: do not try again within a millisecond.
      this.#nextExpiry = Math.max(next, Date.now() + REDIS_SWEEP_PAUSE_MS)
      return more === 1
    } catch (error) {
      this.#onError(error)
      this.#nextExpiry = Math.max(this.#nextExpiry, Date.now() + RETRY_MS)
      return false
    } finally {
      this.#timerFor = Number.POSITIVE_INFINITY
      this.#schedule()
    }
  }
}
