import type { Database } from './driver.ts'

/** Bits of the filter, 512 KiB. With 100,000 revoked users, 2% of all others look revoked. */
const BITS = 2 ** 22
/** With more revoked users than this the filter would exclude few, and loading it takes a second. */
const MAX_LOADED = 1_000_000

/**
 * Which users may have been revoked. Every stream that opens asks, and nearly no user was, so most
 * questions need no look into the file: a filter of fixed size excludes users that were never
 * revoked, and no others.
 */
export class RevokedUsers {
  readonly #bits = new Uint8Array(BITS / 8)

  /** Reads the users that were revoked so far. */
  constructor(db: Database) {
    const rows = db
      .prepare<{ user: string }>('SELECT user FROM revocation LIMIT ?')
      .all(MAX_LOADED + 1)
    if (rows.length > MAX_LOADED) this.#bits.fill(0xff)
    else for (const { user } of rows) this.add(user)
  }

  /** To be called before a revocation is written. */
  add(user: string): void {
    const bit = bitOf(user)
    this.#bits[bit >>> 3] = this.#byteOf(bit) | (1 << (bit & 7))
  }

  /** False if the user was never revoked. */
  mayContain(user: string): boolean {
    const bit = bitOf(user)
    return (this.#byteOf(bit) & (1 << (bit & 7))) !== 0
  }

  #byteOf(bit: number): number {
    return this.#bits[bit >>> 3] ?? 0
  }
}

/** The bit of a user: FNV-1a, its upper bits folded into the lower. */
function bitOf(user: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < user.length; i++) hash = Math.imul(hash ^ user.charCodeAt(i), 0x01000193)
  return (hash ^ (hash >>> 22)) & (BITS - 1)
}
