import { StoreError } from '../log/store.ts'

/**
 * Why a caller was not let in.
 *
 * - `denied`: no valid credential. The caller has to send another one.
 * - `forbidden`: the credential is genuine, but names a user or topic that breaks the rules for names.
 * - `unavailable`: nobody can tell at the moment. The caller may try again with the same credential.
 */
export type AuthErrorKind = 'denied' | 'forbidden' | 'unavailable'

/** Thrown by verifiers. `message` is shown to the caller: it says what to do and never quotes a credential. */
export class AuthError extends Error {
  readonly kind: AuthErrorKind
  constructor(kind: AuthErrorKind, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'AuthError'
    this.kind = kind
  }
}

/** A definite no. It carries no cause: a verifier's error may hold parts of the credential. */
export const denied = (message: string): AuthError => new AuthError('denied', message)

/** No answer for now; never a 401, which would send clients away for good. */
export const unavailable = (message: string, cause?: unknown): AuthError =>
  new AuthError('unavailable', message, { cause })

/** Waits for an answer of the store; if the store fails, throws an {@link AuthError} `unavailable`. */
export async function asking<T>(question: Promise<T>): Promise<T> {
  try {
    return await question
  } catch (error) {
    if (error instanceof StoreError)
      throw unavailable('The store does not answer at the moment: try again.', error)
    throw error
  }
}
