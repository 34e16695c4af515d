import type { OutsideError } from '../bounds/outside-request.ts'

/**
 * Why a server that a setting names (`AUTH_JWKS_URL`, `AUTH_SESSION_URL`) gives no usable answer.
 */
export type Trouble = Pick<OutsideError, 'setting' | 'origin' | 'reason'>

/** The verifiers of credentials report to it how sign-ins go. */
export interface SignInObserver {
  /** A caller was identified, by any credential. */
  identified(): void
  /** A caller could not be identified, through no fault of theirs. */
  failed(trouble: Trouble): void
  /** The server that `setting` names gave a usable answer: it accepted or rejected a caller. */
  answered(setting: string): void
  /**
   * The key set could not be fetched, whether or not a caller waits for it. `fetchedAt` is the time
   * of the last successful fetch, `goodUntil` the time until which its keys stay valid; both are
   * milliseconds since 1970, undefined if it was never fetched.
   */
  keySetAway(trouble: Trouble, fetchedAt: number | undefined, goodUntil: number | undefined): void
  /** The key set was fetched. */
  keySetBack(): void
}
