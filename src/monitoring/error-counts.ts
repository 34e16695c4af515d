import { MAX_ERROR_MESSAGE, RECENT_ERRORS } from '../bounds/limits.ts'
import { CountBy } from './counts.ts'

/** What is known of one error code; instants are milliseconds since 1970. */
interface ErrorDetails {
  readonly firstAt: number
  readonly lastAt: number
  readonly lastMessage: string
}

/** One error. */
export interface RecentError {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly code: string
  readonly message: string
  /** Public id of the connection it happened on. */
  readonly connection?: string
}

/** Errors that are our fault: counted by code, and the latest ones in full. */
export class ErrorCounts {
  readonly counts: CountBy
  readonly #details = new Map<string, ErrorDetails>()
  readonly #recent: RecentError[] = []

  /** `known`: codes that errors are known to have. */
  constructor(known: readonly string[] = []) {
    this.counts = new CountBy(known)
  }

  /** `code` comes from a fixed set. `message` holds no secret; a long one is cut. */
  add(code: string, text: string, connection?: string): void {
    const message = text.length > MAX_ERROR_MESSAGE ? `${text.slice(0, MAX_ERROR_MESSAGE)}…` : text
    const at = Date.now()
    this.counts.add(code)
    this.#details.set(code, {
      firstAt: this.#details.get(code)?.firstAt ?? at,
      lastAt: at,
      lastMessage: message
    })
    this.#recent.push({ at, code, message, ...(connection === undefined ? {} : { connection }) })
    if (this.#recent.length > RECENT_ERRORS) this.#recent.shift()
  }

  get total(): number {
    return this.counts.total
  }

  get byCode(): ReadonlyMap<string, ErrorDetails & { readonly count: number }> {
    return new Map(
      [...this.#details].map(([code, details]) => [
        code,
        { count: this.counts.of(code), ...details }
      ])
    )
  }

  /** Oldest first, at most {@link RECENT_ERRORS}. */
  get recent(): readonly RecentError[] {
    return this.#recent
  }
}
