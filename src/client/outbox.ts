import type { Api } from './api.ts'
import { backoffMs } from './backoff.ts'
import { isAfter, sameLog } from './cursor.ts'
import { asError } from './error.ts'
import type { Mark, Page } from './page.ts'
import { sleep } from './sleep.ts'

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
export interface Outbox {
  /** What is to be shown on top of the page, oldest first. */
  marks: readonly Pending[]
  /** What the service has not answered yet. */
  unsent(): readonly Mark[]
  add(mark: Mark): Promise<void>
  /** Forgets those that the page shows by itself. */
  shownBy(page: Page): void
  /** Gives up everything. */
  clear(error: Error): void
  /** Sends what waits, now; called where there is reason to hope. */
  send(): Promise<void>
}

export function createOutbox(api: Api, changed: () => void): Outbox {
  let sending = false
  /** Ends the pause before the next try. */
  let hope = new AbortController()

  const waiting = (): readonly Pending[] => outbox.marks.filter(({ doneAt }) => !doneAt)
  const outbox: Outbox = {
    marks: [],
    unsent: () => waiting().map(({ mark }) => mark),
    add: (mark) =>
      new Promise((resolve, reject) => {
        const settle = (error?: Error): void => (error ? reject(error) : resolve())
        outbox.marks = [...outbox.marks, { mark, at: api.isoNow(), settle }]
        changed()
        outbox.send()
      }),
    shownBy({ cursor }) {
      outbox.marks = outbox.marks.filter(
        ({ doneAt }) => !doneAt || (sameLog(doneAt, cursor) && isAfter(doneAt, cursor))
      )
    },
    clear(error) {
      hope.abort()
      const { marks } = outbox
      outbox.marks = []
      for (const { settle } of marks) settle(error)
    },
    async send() {
      hope.abort()
      if (sending) return
      sending = true
      for (let failures = 0; ; ) {
        const next = waiting()[0]
        if (!next) break
        hope = new AbortController()
        const { op, ids, upTo } = next.mark
        try {
          const path = `inbox/${op === 'archived' ? 'archive' : op}`
          const { cursor } = await api.json<{ cursor?: string }>(path, {}, ids ? { ids } : { upTo })
          if (!cursor) throw cursor
          next.doneAt = cursor
          failures = 0
          next.settle()
        } catch (cause) {
          const error = asError(cause)
          // Bellwire itself refused it; everything else may pass.
          const final = /^4(?!08|29)/.test(`${error.status}`)
          if (!final) {
            await sleep(error.retryAfterMs ?? backoffMs(++failures), hope.signal)
            continue
          }
          outbox.marks = outbox.marks.filter((one) => one !== next)
          next.settle(error)
        }
        changed()
      }
      sending = false
    }
  }
  return outbox
}
