/** What a piece of work costs a store. */
export interface Weight {
  /** Entries it appends, changes or removes: one for each recipient. */
  readonly entries: number
  /** Approximate bytes of content and names. */
  readonly bytes: number
}

/** Bytes of a name, with its overhead. */
const NAME_BYTES = 40

/** The weight of content that is appended to a number of channels. */
export const weightOf = (content: string, channels: number): Weight => ({
  entries: Math.max(1, channels),
  bytes: content.length + channels * NAME_BYTES
})

/** The most that one step of a store may do. Nothing interrupts a step. */
export type SliceLimit = Weight

/** A slice that takes more than this share of a round counts as long. */
const LONG_SHARE = 1 / 4

/**
 * A queue for a store that does one thing at a time. A request is one or several slices, which keep
 * their order. Rounds alternate: one takes short requests, oldest first, up to the limit; the next
 * takes one slice of a long request, and the long requests take turns. So a short request waits for
 * at most one slice, whatever else is queued, and long requests always make progress.
 */
export class FairQueue<T extends Weight> {
  readonly #limit: SliceLimit
  /** Number of queued slices. */
  size = 0
  /** Their bytes. */
  bytes = 0
  #short: T[] = []
  #long: T[][] = []
  #longIsNext = false

  /** `limit`: the most one round takes. */
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

  /**
   * Takes the slices of the next round: within the limit, or a single larger one. A long slice is
   * alone.
   */
  take(): T[] {
    const long = this.#longIsNext || this.#short.length === 0 ? this.#long.shift() : undefined
    this.#longIsNext = long === undefined
    const taken = long ? long.splice(0, 1) : this.#short.splice(0, this.#fitting())
    if (long && long.length > 0) this.#long.push(long)
    this.size -= taken.length
    for (const { bytes } of taken) this.bytes -= bytes
    return taken
  }

  /** Takes all slices. */
  clear(): T[] {
    const all = [...this.#short, ...this.#long.flat()]
    this.#short = []
    this.#long = []
    this.size = this.bytes = 0
    return all
  }

  /** How many short requests fit in one round; at least one. */
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

/** Items that one step handles together. */
export interface Slice<Item> extends Weight {
  readonly items: readonly Item[]
}

/**
 * Cuts a request into slices within the limit. An item is never cut: a larger one is a slice by
 * itself.
 */
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
