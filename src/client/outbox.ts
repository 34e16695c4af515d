import type { Api } from './api.ts'
import { backoffMs } from './backoff.ts'
import { isAfter, sameLog } from './cursor.ts'
import { BellwireError } from './error.ts'
import type { Mark, Page } from './page.ts'

/** A mark that the user has made, until the page shows that the service has it. */
interface Pending {
  readonly mark: Mark
  readonly at: string
  /** Place in the log up to which it shows; set when the service has answered. */
  doneAt: string | null
  readonly settle: (error?: Error) => void
}

const PATHS = { read: 'read', unread: 'unread', seen: 'seen', archived: 'archive', removed: '' } as const

/**
 * Marks on their way to the service: shown at once, sent one after the other so that the last one wins, kept where the service
 * cannot be reached, taken back where it refuses. Each may be sent twice without harm.
 */
export class Outbox {
  readonly #api: Api
  readonly #changed: () => void
  #pending: readonly Pending[] = []
  #sending = false
  #failures = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(api: Api, changed: () => void) {
    this.#api = api
    this.#changed = changed
  }

  /** What is to be shown on top of the page, oldest first. */
  get marks(): readonly { readonly mark: Mark; readonly at: string }[] {
    return this.#pending
  }

  /** What the service has not answered yet. */
  get unsent(): readonly Mark[] {
    return this.#pending.filter(({ doneAt }) => doneAt === null).map(({ mark }) => mark)
  }

  add(mark: Mark): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error?: Error): void => (error ? reject(error) : resolve())
      this.#set([...this.#pending, { mark, at: new Date().toISOString(), doneAt: null, settle }])
      this.send()
    })
  }

  /** Forgets those that the page shows by itself. */
  shownBy(page: Page): void {
    const rest = this.#pending.filter(
      ({ doneAt }) => doneAt === null || (sameLog(doneAt, page.cursor) && isAfter(doneAt, page.cursor))
    )
    if (rest.length < this.#pending.length) this.#pending = rest
  }

  /** Sends what waits, now; called where there is reason to hope. */
  send(): void {
    clearTimeout(this.#timer)
    if (!this.#sending) void this.#run()
  }

  /** Gives up everything. */
  clear(error: Error): void {
    clearTimeout(this.#timer)
    const all = this.#pending
    this.#pending = []
    for (const { settle, doneAt } of all) if (doneAt === null) settle(error)
  }

  #set(pending: readonly Pending[]): void {
    this.#pending = pending
    this.#changed()
  }

  async #run(): Promise<void> {
    this.#sending = true
    try {
      for (;;) {
        const next = this.#pending.find(({ doneAt }) => doneAt === null)
        if (!next) return
        const { op, ids, upTo } = next.mark
        try {
          const { cursor } = await this.#api.json<{ cursor: string }>(`inbox/${PATHS[op]}`, {}, ids ? { ids } : { upTo })
          this.#failures = 0
          next.doneAt = cursor
          next.settle()
          this.#changed()
        } catch (error) {
          const fault = error instanceof BellwireError ? error : new BellwireError('network', String(error))
          if (fault.passing) {
            this.#timer = setTimeout(() => this.send(), fault.retryAfterMs ?? backoffMs(1_000, ++this.#failures))
            return
          }
          next.settle(fault)
          this.#set(this.#pending.filter((one) => one !== next))
        }
      }
    } finally {
      this.#sending = false
    }
  }
}
