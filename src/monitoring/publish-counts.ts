import { Count, CountBy } from './counts.ts'
import { ProducerMinute } from './producer-minute.ts'

/** What producers asked for, and the pauses between. */
export class PublishCounts {
  readonly accepted = new Count()
  /** Repeated with a known `Idempotency-Key`. */
  readonly replayed = new Count()
  /** Notifications that were refused, or whole requests, by slug of the problem. */
  readonly rejectedBy: CountBy
  readonly producers = new ProducerMinute()
  #acceptedBefore = 0
  #acceptedAt = 0
  #silenceMs: number | null = null
  #longestSilenceMs = 0

  /** `problems`: slugs of the problems there are. */
  constructor(problems: readonly string[]) {
    this.rejectedBy = new CountBy(problems)
  }

  accept(count: number, producer: string): void {
    this.accepted.add(count)
    this.producers.taken(producer, count)
  }

  replay(count: number, producer: string): void {
    this.replayed.add(count)
    this.producers.taken(producer, count)
  }

  /** `producer` is undefined if the fault is not that of a producer with a key. */
  reject(problem: string, count: number, producer: string | undefined): void {
    this.rejectedBy.add(problem, count)
    if (producer !== undefined) this.producers.refused(producer, problem, count)
  }

  /** Time since the last accepted notification, milliseconds; null before the first. */
  get silenceMs(): number | null {
    return this.#silenceMs
  }

  /** The longest such time that has ended. */
  get longestSilenceMs(): number {
    return this.#longestSilenceMs
  }

  /** Call every second; `now` is monotonic milliseconds. */
  tick(now: number): void {
    this.producers.tick()
    if (this.#silenceMs !== null) this.#silenceMs = now - this.#acceptedAt
    if (this.accepted.value === this.#acceptedBefore) return
    this.#acceptedBefore = this.accepted.value
    this.#longestSilenceMs = Math.max(this.#longestSilenceMs, this.#silenceMs ?? 0)
    this.#silenceMs = 0
    this.#acceptedAt = now
  }
}
