import type { Api } from './api.ts'
import { isAfter } from './cursor.ts'
import type { Frame } from './frame.ts'
import { askedItems, isFresh, type Page } from './page.ts'
import type { Member, Tabs } from './tabs.ts'
import type { Transport } from './transport.ts'
import { type Ladder, startLadder } from './transport-fallback.ts'
import type { Status } from './types.ts'

/**
 * Brings frames to the inbox: over its own connection if this tab leads, which passes them on to
 * the other tabs, otherwise from the tab that leads.
 */
export interface Link extends Member {
  /** The connection of this tab; undefined if it has none. */
  ladder: Ladder | undefined
  connect(
    transports: readonly Transport[],
    cursor: () => string | undefined,
    hear: (frame: Frame) => void
  ): void
  /** A frame of the own connection: for this tab, and then for the others. */
  take(frame: Frame): void
  close(): void
}

/**
 * `rungs` are the transports to try, best first; `tabs` gives those of this user, or undefined
 * until the service has named the user. Positional, and one closure, because a minifier keeps names
 * of properties and the size of the script is limited.
 */
export function createLink(
  api: Api,
  pageSize: number,
  rungs: readonly Transport[],
  page: () => Page | null,
  status: () => Status,
  tabs: () => Tabs | undefined,
  receive: (frame: Frame) => void,
  replace: (page: Page) => void,
  setStatus: (status: Status, error: Error | null) => void
): Link {
  const link: Link = {
    ladder: undefined,
    connect(transports, cursor, hear) {
      link.ladder = startLadder(
        api,
        askedItems(pageSize),
        transports,
        cursor,
        hear,
        (next, error) => {
          setStatus(next, error)
          link.asked(false)
        }
      )
    },
    lead() {
      // A page of other topics cannot be resumed.
      link.connect(rungs, () => (page()?.topics == null ? undefined : page()?.cursor), link.take)
      return link.close
    },
    asked(need) {
      const own = page()
      // A page that is about to be replaced is sent afterwards.
      tabs()?.tell({ status: status(), page: need && own?.topics != null ? own : null })
    },
    take(frame) {
      // A notification was created in the past, so the service's clock shows at least that time.
      if (frame.event === 'notification') api.setClock(Date.parse(frame.data.item.createdAt), true)
      tabs()?.tell({ frame, after: page()?.cursor })
      receive(frame)
    },
    hear(message) {
      if ('status' in message) {
        if (message.page) replace(message.page)
        return setStatus(message.status, null)
      }
      const { frame, after } = message
      const own = page()
      // This tab has missed an event before this frame.
      if (after && !isFresh(frame) && (!own || isAfter(after, own.cursor))) tabs()?.ask(true)
      else receive(frame)
    },
    close() {
      link.ladder?.close()
      link.ladder = undefined
    }
  }
  return link
}
