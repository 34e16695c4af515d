import type { Api } from './api.ts'
import { backoffMs } from './backoff.ts'
import { isAfter, sameLog } from './cursor.ts'
import { asError } from './error.ts'
import type { Mark, Page } from './page.ts'

/** A mark that the user has made, until the page shows that the service has it. */
interface Pending {
  readonly mark: Mark
  readonly at: string
  /** Place in the log up to which it shows; set when the service has answered. */
  doneAt?: string
  readonly settle: (error?: Error) => void
}

/**
 * Marks on their way to the service: shown at once, sent one after the other so that the last one wins, kept where the service
 * cannot be reached, taken back where it refuses. Each may be sent twice without harm.
 */
export class Outbox {
  readonly #api: Api
  readonly #changed: () => void
  /** What is to be shown on top of the page, oldest first. */
  marks: readonly Pending[] = []
  #sending = false
  #failures = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(api: Api, changed: () => void) {
    this.#api = api
    this.#changed = changed
  }

  /** What the service has not answered yet. */
  get unsent(): readonly Mark[] {
    return this.marks.filter(({ doneAt }) => !doneAt).map(({ mark }) => mark)
  }

  add(mark: Mark): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error?: Error): void => (error ? reject(error) : resolve())
      this.marks = [...this.marks, { mark, at: new Date().toISOString(), settle }]
      this.#changed()
      this.send()
    })
  }

  /** Forgets those that the page shows by itself. */
  shownBy({ cursor }: Page): void {
    this.marks = this.marks.filter(({ doneAt }) => !doneAt || (sameLog(doneAt, cursor) && isAfter(doneAt, cursor)))
  }

  /** Gives up everything. */
  clear(error: Error): void {
    clearTimeout(this.#timer)
    const marks = this.marks
    this.marks = []
    for (const { settle } of marks) settle(error)
  }

  /** Sends what waits, now; called where there is reason to hope. */
  async send(): Promise<void> {
    clearTimeout(this.#timer)
    if (this.#sending) return
    this.#sending = true
    for (let next: Pending | undefined; ; ) {
      next = this.marks.find(({ doneAt }) => !doneAt)
      if (!next) break
      const { op, ids, upTo } = next.mark
      try {
        const path = `inbox/${op === 'archived' ? 'archive' : op}`
        next.doneAt = (await this.#api.json<{ cursor: string }>(path, {}, ids ? { ids } : { upTo })).cursor
        this.#failures = 0
        next.settle()
      } catch (cause) {
        const error = asError(cause)
        const { status, retryAfterMs } = error
        if (!status || status === 429 || status >= 500) {
          this.#timer = setTimeout(() => this.send(), retryAfterMs ?? backoffMs(++this.#failures))
          break
        }
        const refused = next
        this.marks = this.marks.filter((one) => one !== refused)
        refused.settle(error)
      }
      this.#changed()
    }
    this.#sending = false
  }
}
