/** What a piece of work costs the store; see {@link SliceLimit}. */
export interface Weight {
  /** Entries that it appends, changes or removes: one for each recipient. */
  readonly entries: number
  /** Bytes of content and names, roughly. */
  readonly bytes: number
}

/** A name, with what it costs beside its bytes. */
const NAME_BYTES = 40

/** What content weighs that is appended to so many channels. */
export const weightOf = (content: string, channels: number): Weight => ({
  entries: Math.max(1, channels),
  bytes: content.length + channels * NAME_BYTES
})

/** How much goes into one step of a store, which nothing else can interrupt. */
export type SliceLimit = Weight

/** What has more than this share of a round is long, although it is one slice. */
const LONG_SHARE = 1 / 4

/**
 * Where requests wait for a store that does one thing at a time. A request is one slice, or several that keep their order. Rounds
 * alternate: one takes short requests, oldest first, as far as there is room; the next takes one slice of the long ones, which
 * take turns. So a short request waits for one slice at most, whatever else is waiting, and long ones always move on.
 */
export class FairQueue<T extends Weight> {
  readonly #limit: SliceLimit
  /** Slices that wait. */
  size = 0
  /** Bytes of them. */
  bytes = 0
  #short: T[] = []
  #long: T[][] = []
  #longIsNext = false

  /** `limit`: what one round takes. */
  constructor(limit: SliceLimit) {
    this.#limit = limit
  }

  /** Adds the slices of one request. */
  push(slices: readonly T[]): void {
    const [first] = slices
    if (first === undefined) return
    const { entries, bytes } = this.#limit
    const long =
      slices.length > 1 || first.entries > entries * LONG_SHARE || first.bytes > bytes * LONG_SHARE
    if (long) this.#long.push([...slices])
    else this.#short.push(first)
    this.size += slices.length
    for (const { bytes } of slices) this.bytes += bytes
  }

  /** The slices of the next round: within the limit, or one that is larger. One that is long is alone. */
  take(): T[] {
    const long = this.#long.length > 0 && (this.#longIsNext || this.#short.length === 0)
    this.#longIsNext = !long
    const taken = long ? [this.#nextOfLong()] : this.#short.splice(0, this.#fitting())
    this.size -= taken.length
    for (const { bytes } of taken) this.bytes -= bytes
    return taken
  }

  /** Everything that waits; nothing is left. */
  clear(): T[] {
    const all = [...this.#short, ...this.#long.flat()]
    this.#short = []
    this.#long = []
    this.size = this.bytes = 0
    return all
  }

  #nextOfLong(): T {
    const request = this.#long.shift()!
    const slice = request.shift()!
    if (request.length > 0) this.#long.push(request)
    return slice
  }

  /** How many short requests may go together; at least one. */
  #fitting(): number {
    let { entries, bytes } = this.#limit
    let n = 0
    for (const slice of this.#short) {
      entries -= slice.entries
      bytes -= slice.bytes
      if (n > 0 && (entries < 0 || bytes < 0)) break
      n++
    }
    return n
  }
}

/** Items that go together into one step. */
export interface Slice<Item> extends Weight {
  readonly items: readonly Item[]
}

/** Cuts a request into slices within the limit; one item is never cut, and one that is larger is a slice by itself. */
export function sliced<Item>(
  items: readonly Item[],
  weigh: (item: Item) => Weight,
  limit: SliceLimit
): Slice<Item>[] {
  const slices: { items: Item[]; entries: number; bytes: number }[] = []
  for (const item of items) {
    const { entries, bytes } = weigh(item)
    const last = slices.at(-1)
    if (last && last.entries + entries <= limit.entries && last.bytes + bytes <= limit.bytes) {
      last.items.push(item)
      last.entries += entries
      last.bytes += bytes
    } else slices.push({ items: [item], entries, bytes })
  }
  return slices
}
