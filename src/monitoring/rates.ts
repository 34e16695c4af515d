/** One sample a second; a minute has 61 of them, both ends included. */
const MINUTE = 61
const TEN_SECONDS = 11

interface Sample<Name extends string> {
  /** Monotonic milliseconds. */
  readonly at: number
  readonly counts: Readonly<Record<Name, number>>
}

/** How fast counts grow, from one sample a second over the last minute. */
export class Rates<Name extends string> {
  readonly #read: () => Readonly<Record<Name, number>>
  readonly #samples: Sample<Name>[] = []

  /** `read` returns counts that only grow. */
  constructor(read: () => Readonly<Record<Name, number>>) {
    this.#read = read
  }

  /** Call every second; `now` is monotonic milliseconds. */
  sample(now: number): void {
    this.#samples.push({ at: now, counts: this.#read() })
    if (this.#samples.length > MINUTE) this.#samples.shift()
  }

  /** A second, over the last ten seconds; to one decimal. */
  perSecond(name: Name): number {
    const span = this.#span(TEN_SECONDS)
    if (!span) return 0
    const seconds = Math.max(1, (span.to.at - span.from.at) / 1000)
    return Math.round(((span.to.counts[name] - span.from.counts[name]) / seconds) * 10) / 10
  }

  inTenSeconds(name: Name): number {
    return this.#growth(name, TEN_SECONDS)
  }

  inMinute(name: Name): number {
    return this.#growth(name, MINUTE)
  }

  #growth(name: Name, samples: number): number {
    const span = this.#span(samples)
    return span ? span.to.counts[name] - span.from.counts[name] : 0
  }

  /** The newest sample, and the one so many samples before it, or the oldest. */
  #span(samples: number): { readonly from: Sample<Name>; readonly to: Sample<Name> } | undefined {
    const to = this.#samples.at(-1)
    const from = this.#samples.at(-samples) ?? this.#samples[0]
    return from && to && { from, to }
  }
}
