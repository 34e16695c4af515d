import { LRUCache } from 'lru-cache'
import { CACHE_BYTES } from './limits.ts'

/** The name of a cache in the table of limits. */
export type CacheName = keyof typeof CACHE_BYTES

/** Bytes an entry takes besides its key and value: its nodes in a hash table and a list. */
const ENTRY_BYTES = 160

/** Most bytes a string takes in memory: two for each code unit, and a header. */
export const textBytes = (text: string): number => 16 + 2 * text.length

/** Most bytes a list of strings takes in memory. */
export const textsBytes = (texts: readonly string[]): number =>
  texts.reduce((sum, text) => sum + 8 + textBytes(text), 16)

/**
 * Copies strings so that they no longer share memory with their origin: a short name that was
 * sliced from a long query or header keeps all of it in memory.
 */
export const detachedTexts = (texts: readonly string[]): string[] =>
  JSON.parse(JSON.stringify(texts)) as string[]

/** How a {@link BoundedCache} counts, keeps and drops its entries. */
export interface BoundedCacheOptions<V> {
  /** Most bytes a value keeps in memory, without key and entry. Called once for each `set`. */
  readonly sizeOf: (value: V) => number
  /** Milliseconds an entry stays valid, unless `set` says otherwise. Default: no expiry. */
  readonly ttlMs?: number
  /**
   * Entries to keep when space runs out: those `used` last (default), or the `newest`, whether read
   * or not.
   */
  readonly keep?: 'used' | 'newest'
  /** Called for each entry that was evicted to make space. */
  readonly onEvict?: (value: V, key: string) => void
}

/**
 * All caches, for {@link boundedCaches}. Weak, because a process may open and close many services.
 */
const registry = new Set<WeakRef<BoundedCache<NonNullable<unknown>>>>()

/**
 * A map whose keys callers choose, bounded in bytes by {@link CACHE_BYTES}. Every map with such
 * keys is one of these, unless something else bounds its entries (open connections, for example);
 * then a comment at the map says what.
 */
export class BoundedCache<V extends NonNullable<unknown>> {
  readonly name: CacheName
  /** Most bytes the entries may take together. */
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

  /** The value; undefined if it was never set, was evicted, or has expired. */
  get(key: string): V | undefined {
    return this.#touch ? this.#entries.get(key) : this.#entries.peek(key)
  }

  /**
   * Stores a value, for `ttlMs` milliseconds if given; 0 or less removes it. Set a value again
   * after changing it, so that its size is counted again. A value larger than the bound is not
   * stored.
   */
  set(key: string, value: V, ttlMs?: number): void {
    // The library counts the size again only if the value is another object.
    if (this.#entries.peek(key) === value) this.#entries.delete(key)
    // To the library 0 means no expiry.
    if (ttlMs !== undefined && ttlMs <= 0) this.#entries.delete(key)
    else this.#entries.set(key, value, ttlMs === undefined ? {} : { ttl: ttlMs })
  }

  /** Removes an entry; false if it did not exist. */
  delete(key: string): boolean {
    return this.#entries.delete(key)
  }

  /** Removes all entries. */
  clear(): void {
    this.#entries.clear()
  }

  /** All values; the first to be evicted comes first. */
  values(): Generator<V> {
    return this.#entries.rvalues() as Generator<V>
  }

  /** All entries, in the same order. */
  entries(): Generator<[string, V]> {
    return this.#entries.rentries() as Generator<[string, V]>
  }

  /** Number of entries. */
  get size(): number {
    return this.#entries.size
  }

  /** Estimated bytes of all entries; at most {@link maxBytes}. */
  get bytes(): number {
    return this.#entries.calculatedSize
  }
}

/** All caches of this process that are still in use. */
export function* boundedCaches(): Generator<BoundedCache<NonNullable<unknown>>> {
  for (const known of registry) {
    const cache = known.deref()
    if (cache !== undefined) yield cache
  }
}
