import { ProblemError } from '../errors.ts'
import { StoreError } from '../log/store.ts'

/** Seconds after which trouble behind us is worth another try. */
const RETRY_SECONDS = 5

/** A definite no. It carries no cause: what a verifier's error holds are parts of the credential. */
export const unauthenticated = (detail: string): ProblemError =>
  new ProblemError('unauthenticated', detail)

/** Nobody can tell at the moment; never a 401, which would send clients away for good. */
export const unavailable = (detail: string, cause?: unknown): ProblemError =>
  new ProblemError('unavailable', detail, { retryAfter: RETRY_SECONDS, cause })

/** Asks the store; its trouble is trouble behind us. */
export async function asking<T>(question: Promise<T>): Promise<T> {
  try {
    return await question
  } catch (error) {
    if (error instanceof StoreError)
      throw unavailable('The store cannot be asked at the moment: try again.', error)
    throw error
  }
}
