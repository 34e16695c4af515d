import { iso } from '../../log/iso.ts'
import type { PublishOutcome } from '../../log/store.ts'
import { asProblem } from './as-problem.ts'
import { summaryOf } from './faults.ts'
import { type Fault, ProblemError, type ProblemSlug, problemDocument } from './problem.ts'

/**
 * A notification that is durable: now, or since an earlier request with the same idempotency key.
 */
type Stored = Extract<PublishOutcome, { readonly kind: 'accepted' | 'replayed' }>
type Rejected = Exclude<PublishOutcome, Stored>

const KEY_REUSED =
  'The idempotency key was used for another notification within 24 h; use a new one.'

/** Whether an outcome is a durable notification. */
export const isStored = (outcome: PublishOutcome): outcome is Stored =>
  outcome.kind === 'accepted' || outcome.kind === 'replayed'

/** The members of an answer to a notification that is durable, without the braces. */
export const storedMembers = ({ id, createdAt }: Stored): string =>
  `"id":"${id}","createdAt":"${iso(createdAt)}"`

/**
 * The problem of a notification that the store rejected; `pointer` is where it stands in the body.
 */
export function problemOf(outcome: Rejected, pointer = ''): ProblemError {
  switch (outcome.kind) {
    case 'key-reused':
      return new ProblemError('idempotency-key-reused', KEY_REUSED)
    case 'expired':
      return invalid([{ pointer: `${pointer}/expiresAt`, detail: 'must be in the future' }])
    case 'failed':
      return asProblem(outcome.error)
  }
}

/** The problem of a notification that breaks these rules. */
export const invalid = (faults: readonly Fault[]): ProblemError =>
  new ProblemError('validation', summaryOf(faults), { errors: faults })

/** The answers to the items of one batch, filled in any order. */
export class BatchAnswer {
  readonly #requestId: string
  readonly #results: string[] = []
  readonly #rejected = new Map<ProblemSlug, number>()

  constructor(requestId: string) {
    this.#requestId = requestId
  }

  /** How many items were rejected, by problem. */
  get rejected(): Iterable<[ProblemSlug, number]> {
    return this.#rejected
  }

  /** Answers an item that was stored. */
  store(index: number, stored: Stored): void {
    this.#results[index] = `{"status":201,${storedMembers(stored)}}`
  }

  /** Answers an item that was rejected. */
  reject(index: number, { slug, message, statusCode, errors }: ProblemError): void {
    this.#rejected.set(slug, (this.#rejected.get(slug) ?? 0) + 1)
    this.#results[index] = JSON.stringify({
      status: statusCode,
      problem: problemDocument(slug, message, this.#requestId, errors)
    })
  }

  /** The body of the response. */
  toString(): string {
    return `{"results":[${this.#results.join(',')}]}`
  }
}
