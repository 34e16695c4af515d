/** A message between threads: values in the order in which they are read back. */
export type Flat = (string | number | null)[]

/** Reads a {@link Flat} from the front. Every method throws if the next value has another type. */
export class FlatReader {
  readonly #values: Readonly<Flat>
  #at = 0
  /** Characters of all strings read so far. */
  chars = 0

  constructor(values: Readonly<Flat>) {
    this.#values = values
  }

  /** True after the last value. */
  get done(): boolean {
    return this.#at >= this.#values.length
  }

  string(): string {
    const value = this.#next()
    if (typeof value !== 'string') throw new TypeError(`expected a string, found ${typeof value}`)
    this.chars += value.length
    return value
  }

  number(): number {
    const value = this.#next()
    if (typeof value !== 'number') throw new TypeError(`expected a number, found ${typeof value}`)
    return value
  }

  stringOrNull(): string | null {
    return this.#skipNull() ? null : this.string()
  }

  numberOrNull(): number | null {
    return this.#skipNull() ? null : this.number()
  }

  /** One of a fixed set, which is sent as its index. */
  oneOf<T>(choices: readonly T[]): T {
    const choice = choices[this.number()]
    if (choice === undefined) throw new RangeError('unknown choice')
    return choice
  }

  /** A list, which is sent after its length. */
  list<T>(read: (from: FlatReader) => T): T[] {
    const list: T[] = []
    for (let left = this.number(); left > 0; left--) list.push(read(this))
    return list
  }

  #next(): Flat[number] | undefined {
    return this.#values[this.#at++]
  }

  #skipNull(): boolean {
    if (this.#values[this.#at] !== null) return false
    this.#at++
    return true
  }
}
