import { isMisconfiguration, reasonOf } from './redis-errors.ts'

/** Why the log cannot be used. */
export interface LogFailure {
  /** The reason, for an operator. */
  readonly reason: string
  /** True if only an operator can correct it. */
  readonly misconfigured: boolean
  /** Monotonic milliseconds of the first failure in a row. */
  readonly since: number
}

/** Whether the log could be read and followed the last time. */
export class LogHealth {
  #failure: LogFailure | null = {
    reason: 'Redis has not been reached yet',
    misconfigured: false,
    since: performance.now()
  }
  readonly #onRefused: (reason: string) => void

  /**
   * `onRefused` receives the reason of a server that refuses, once until the reason changes. A
   * connection reports its own errors.
   */
  constructor(onRefused: (reason: string) => void) {
    this.#onRefused = onRefused
  }

  /** The failure; null if the log works. */
  get failure(): LogFailure | null {
    return this.#failure
  }

  /** The last attempt failed with this error. */
  failed(error: unknown): void {
    const reason = reasonOf(error)
    const misconfigured = isMisconfiguration(error)
    const refused = misconfigured || (error instanceof Error && error.name === 'ReplyError')
    if (refused && reason !== this.#failure?.reason) this.#onRefused(reason)
    this.#failure = { reason, misconfigured, since: this.#failure?.since ?? performance.now() }
  }

  /** The last attempt succeeded. */
  recovered(): void {
    this.#failure = null
  }
}
