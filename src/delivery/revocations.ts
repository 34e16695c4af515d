import { BoundedCache } from '../bounds/bounded-cache.ts'
import { REVOCATION_ECHO_MS } from '../bounds/limits.ts'

/**
 * Users revoked lately. A connection whose credential was checked before the revocation, but that
 * opens after it, must be closed.
 */
export class Revocations {
  /** When each revocation was heard of, in monotonic milliseconds. */
  readonly #heardAt = new BoundedCache<number>('revocations', {
    keep: 'newest',
    ttlMs: REVOCATION_ECHO_MS,
    sizeOf: () => 16,
    onEvict: (at) => {
      this.#forgottenUpTo = at
    }
  })
  /** Revocations up to then may have been forgotten for want of room. */
  #forgottenUpTo = Number.NEGATIVE_INFINITY

  add(user: string): void {
    this.#heardAt.set(user, performance.now())
  }

  /**
   * Why a connection must be closed whose credential was checked then (monotonic milliseconds);
   * null if it may stay. `unavailable` if nobody can tell: the client returns and is checked again.
   */
  reasonToClose(user: string, checkedAt: number): 'revoked' | 'unavailable' | null {
    const at = this.#heardAt.get(user)
    if (at !== undefined && at >= checkedAt) return 'revoked'
    return this.#forgottenUpTo >= checkedAt ? 'unavailable' : null
  }
}
