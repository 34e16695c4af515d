import { LRUCache } from 'lru-cache'
import { CACHE_BYTES } from './limits.ts'

/** The name of a memory in the table of limits. */
export type CacheName = keyof typeof CACHE_BYTES

/** What an entry takes beside its key and its value: its places in a hash table and in a list. */
const ENTRY_BYTES = 160

/** What a text takes in memory at most, in bytes: two for each code unit, and its header. */
export const textBytes = (text: string): number => 16 + 2 * text.length

/** What a list of texts takes in memory at most, in bytes. */
export const textsBytes = (texts: readonly string[]): number =>
  texts.reduce((sum, text) => sum + 8 + textBytes(text), 16)

/**
 * The same texts, cut loose from what they were cut out of: a short name from a long query or header keeps all of that in
 * memory for as long as the name lives.
 */
export const detachedTexts = (texts: readonly string[]): string[] =>
  JSON.parse(JSON.stringify(texts)) as string[]

export interface BoundedCacheOptions<V> {
  /** Bytes that a value keeps in memory, at most; key and entry are added. Asked once for each `set`. */
  readonly sizeOf: (value: V) => number
  /** How long an entry counts, in milliseconds, unless `set` says otherwise; default for ever. */
  readonly ttlMs?: number
  /** Which entries stay when room is needed: those `used` last (the default), or the `newest`, whether they are read or not. */
  readonly keep?: 'used' | 'newest'
  /** Hears of each entry that had to go for want of room. */
  readonly onEvict?: (value: V, key: string) => void
}

/** All that live, for {@link boundedCaches}. Weak: a process may open and close many services. */
const registry = new Set<WeakRef<BoundedCache<NonNullable<unknown>>>>()

/**
 * A map keyed by something that a caller can name or choose, bounded in bytes by {@link CACHE_BYTES}. Every such map is one of these, unless its
 * entries are bounded by something else that is (open connections, say), which a comment at the map then states.
 */
export class BoundedCache<V extends NonNullable<unknown>> {
  readonly name: CacheName
  /** The bound. */
  readonly maxBytes: number
  readonly #entries: LRUCache<string, V>
  readonly #touch: boolean

  constructor(name: CacheName, { sizeOf, ttlMs, keep = 'used', onEvict }: BoundedCacheOptions<V>) {
    this.name = name
    this.maxBytes = CACHE_BYTES[name]
    this.#touch = keep === 'used'
    this.#entries = new LRUCache<string, V>({
      maxSize: this.maxBytes,
      sizeCalculation: (value, key) => Math.ceil(ENTRY_BYTES + textBytes(key) + sizeOf(value)),
      ...(ttlMs === undefined ? {} : { ttl: ttlMs }),
      ...(onEvict === undefined
        ? {}
        : {
            dispose: (value, key, reason) => {
              if (reason === 'evict') onEvict(value, key)
            }
          })
    })
    for (const known of registry) if (known.deref() === undefined) registry.delete(known)
    registry.add(new WeakRef(this as unknown as BoundedCache<NonNullable<unknown>>))
  }

  /** The value, or undefined if there is none, it was evicted, or its time is over. */
  get(key: string): V | undefined {
    return this.#touch ? this.#entries.get(key) : this.#entries.peek(key)
  }

  /**
   * Remembers a value, for `ttlMs` milliseconds if given (0 or less: not at all). Setting a changed value again takes its size
   * again. A value larger than the whole bound is
   * not remembered.
   */
  set(key: string, value: V, ttlMs?: number): void {
    // The library takes the size of a value anew only if it is another object.
    if (this.#entries.peek(key) === value) this.#entries.delete(key)
    // To the library a time of 0 means for ever.
    if (ttlMs !== undefined && ttlMs <= 0) this.#entries.delete(key)
    else this.#entries.set(key, value, ttlMs === undefined ? {} : { ttl: ttlMs })
  }

  delete(key: string): boolean {
    return this.#entries.delete(key)
  }

  clear(): void {
    this.#entries.clear()
  }

  /** From the oldest, or the one longest unused. */
  values(): Generator<V> {
    return this.#entries.rvalues() as Generator<V>
  }

  /** In the same order. */
  entries(): Generator<[string, V]> {
    return this.#entries.rentries() as Generator<[string, V]>
  }

  /** How many entries there are. */
  get size(): number {
    return this.#entries.size
  }

  /** What they take, by estimate; never above {@link maxBytes}. */
  get bytes(): number {
    return this.#entries.calculatedSize
  }
}

/** All bounded memories of this process that are still in use. */
export function* boundedCaches(): Generator<BoundedCache<NonNullable<unknown>>> {
  for (const known of registry) {
    const cache = known.deref()
    if (cache !== undefined) yield cache
  }
}
