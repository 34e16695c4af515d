import { BoundedCache } from '../bounds/bounded-cache.ts'
import { REVOCATION_ECHO_MS } from '../bounds/limits.ts'

/**
 * Users whose credentials were revoked recently. A connection that opens after the revocation with
 * a credential checked before it must be closed.
 */
export class Revocations {
  /** When this node received each revocation, in monotonic milliseconds. */
  readonly #heardAt = new BoundedCache<number>('revocations', {
    keep: 'newest',
    ttlMs: REVOCATION_ECHO_MS,
    sizeOf: () => 16,
    onEvict: (at) => {
      this.#forgottenUpTo = at
    }
  })
  /** Revocations up to this time may have been evicted from the full cache. */
  #forgottenUpTo = Number.NEGATIVE_INFINITY

  add(user: string): void {
    this.#heardAt.set(user, performance.now())
  }

  /**
   * Why to close a connection whose credential was checked at `checkedAt` (monotonic milliseconds);
   * null if it may stay. `unavailable` if that is unknown: the client reconnects and is checked
   * again.
   */
  reasonToClose(user: string, checkedAt: number): 'revoked' | 'unavailable' | null {
    const at = this.#heardAt.get(user)
    if (at !== undefined && at >= checkedAt) return 'revoked'
    return this.#forgottenUpTo >= checkedAt ? 'unavailable' : null
  }
}
