import { StoreError } from '../log/store.ts'

/**
 * Why a caller was rejected.
 *
 * - `denied`: no valid credential. The caller must send another one.
 * - `forbidden`: the credential is valid, but names a user or topic that breaks the rules for
 * names.
 * - `unavailable`: the credential cannot be checked now. The caller may retry with the same one.
 */
export type AuthErrorKind = 'denied' | 'forbidden' | 'unavailable'

/**
 * Thrown by verifiers. `message` is sent to the caller: it says what to do and never quotes a
 * credential.
 */
export class AuthError extends Error {
  readonly kind: AuthErrorKind
  constructor(kind: AuthErrorKind, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'AuthError'
    this.kind = kind
  }
}

/** A rejection. It has no cause, because a verifier's error may contain parts of the credential. */
export const denied = (message: string): AuthError => new AuthError('denied', message)

/** The credential cannot be checked now. It is never sent as 401, after which clients give up. */
export const unavailable = (message: string, cause?: unknown): AuthError =>
  new AuthError('unavailable', message, { cause })

/** Awaits a query to the store; if the store fails, throws an {@link AuthError} `unavailable`. */
export async function asking<T>(query: Promise<T>): Promise<T> {
  try {
    return await query
  } catch (error) {
    if (error instanceof StoreError)
      throw unavailable('The store is not responding: try again.', error)
    throw error
  }
}
