/** A count since the process started. */
export class Count {
  #value = 0

  get value(): number {
    return this.#value
  }

  add(by = 1): void {
    this.#value += by
  }
}

/** Counts by name since the process started. Names come from a fixed set, never from a caller. */
export class CountBy {
  readonly #counts = new Map<string, number>()
  readonly #known: readonly string[]

  /** `known`: names that {@link all} lists before they occur. */
  constructor(known: readonly string[] = []) {
    this.#known = known
  }

  add(name: string, by = 1): void {
    this.#counts.set(name, this.of(name) + by)
  }

  of(name: string): number {
    return this.#counts.get(name) ?? 0
  }

  get total(): number {
    let sum = 0
    for (const count of this.#counts.values()) sum += count
    return sum
  }

  /** Names that occurred. */
  get occurred(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts)
  }

  /**
   * Every known name, 0 if it never occurred: Prometheus sees no increase in a series that starts
   * at 1.
   */
  get all(): readonly (readonly [name: string, count: number])[] {
    return [...new Map([...this.#known.map((name) => [name, 0] as const), ...this.#counts])]
  }
}
