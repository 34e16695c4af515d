import type { Api } from './api.ts'
import { backoffMs } from './backoff.ts'
import { isAfter, sameLog } from './cursor.ts'
import { asError } from './error.ts'
import type { Mark, Page } from './page.ts'
import { sleep } from './sleep.ts'

/** A mark by the user, until the page shows that the service has it. */
interface Pending {
  readonly mark: Mark
  readonly at: string
  /** Cursor from which on the page includes it; set when the service has answered. */
  doneAt?: string
  readonly settle: (error?: Error) => void
}

/**
 * Marks on their way to the service. They show at once and are sent one by one, so that the last
 * one wins. They wait while the service cannot be reached and are undone if it rejects them.
 * Sending one twice does no harm.
 */
export interface Outbox {
  /** Marks to show on top of the page, oldest first. */
  marks: readonly Pending[]
  /** Marks that the service has not answered yet. */
  unsent(): readonly Mark[]
  /** Shows and sends a mark; resolves or rejects with the service's answer. */
  add(mark: Mark): Promise<void>
  /** Drops the marks that the page includes by now. */
  shownBy(page: Page): void
  /** Drops every mark; their promises reject with this error. */
  clear(error: Error): void
  /** Sends what waits now; called when the service may be reachable again. */
  send(): Promise<void>
}

/** `changed` is called whenever what is shown changes. */
export function createOutbox(api: Api, changed: () => void): Outbox {
  let sending = false
  /** Ends the pause before the next attempt. */
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
        void outbox.send()
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
          // Bellwire itself rejected it. Every other error may pass.
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
