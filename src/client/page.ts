import { isAfter, sameLog } from './cursor.ts'
import type { Frame } from './frame.ts'
import type { Counts, InboxEvents, Item, ResetReason } from './types.ts'

/** What the service has sent, up to a cursor. */
export interface Page {
  readonly user: string
  /**
   * The topics that list and counts cover; null if they have changed, so that the page must be
   * replaced.
   */
  readonly topics: string | null
  readonly cursor: string
  /** Newest first. */
  readonly items: readonly Item[]
  readonly counts: Counts
  /**
   * The last event that changed existing items: older items that were read before it may be out of
   * date.
   */
  readonly changedAt: string
  /** True if there may be older items. */
  readonly more: boolean
}

/** A mark, made by this user or reported by the service. */
export type Mark = InboxEvents['state']

/** The most items that the service puts into one page. */
const MAX_PAGE = 100
/** Items kept of a growing list, in memory and across a reload; older ones can be loaded again. */
const MAX_ITEMS = 500

type Items = readonly Item[]

const tally = (items: Items): Counts => ({
  unread: items.filter(({ readAt }) => !readAt).length,
  unseen: items.filter(({ seen }) => !seen).length
})

/** The counts after a change of the list. */
function recount({ unread, unseen }: Counts, before: Items, after: Items): Counts {
  const [was, is] = [tally(before), tally(after)]
  return {
    unread: Math.max(0, unread + is.unread - was.unread),
    unseen: Math.max(0, unseen + is.unseen - was.unseen)
  }
}

/** Applies a mark to items and counts. */
export function mark(
  { items, counts }: Pick<Page, 'items' | 'counts'>,
  { op, ids, upTo }: Mark,
  at: string
): Pick<Page, 'items' | 'counts'> {
  const left = items.flatMap((item) => {
    if (ids ? !ids.includes(item.id) : isAfter(item.cursor!, upTo!)) return item
    if (op === 'read') return { ...item, readAt: item.readAt ?? at, seen: true }
    if (op === 'unread') return { ...item, readAt: null }
    return op === 'seen' ? { ...item, seen: true } : []
  })
  if (ids) return { items: left, counts: recount(counts, items, left) }
  // Everything older than the list is marked too, so only newer items count, and those are in the
  // list.
  const { unread, unseen } = tally(left)
  return { items: left, counts: { unread: op === 'seen' ? counts.unread : unread, unseen } }
}

/** How many items to request: one more than is shown tells if there are older ones. */
export const askedItems = (pageSize: number): number => Math.min(MAX_PAGE, pageSize + 1)

/** A frame that brings a page, and the cursor after it. */
type Fresh = Extract<Frame, { readonly event: 'ready' | 'reset' }> & { readonly id: string }

/** True if a frame brings a page that needs nothing before it. */
export const isFresh = (frame: Frame): frame is Fresh =>
  frame.event === 'reset' || (frame.event === 'ready' && !frame.data.resumed)

/** The page that a fresh frame brings. */
export function pageOf({ id, data }: Fresh, pageSize: number): Page {
  const { user, topics, items, counts } = data
  const more = items.length >= askedItems(pageSize)
  return {
    user,
    topics: `${topics}`,
    items: items.slice(0, pageSize),
    counts,
    cursor: id,
    changedAt: id,
    more
  }
}

/**
 * The page after one more frame; null if the frame brings nothing new. This check makes it exactly
 * once.
 */
export function apply(page: Page | null, { event, data, id }: Frame, at: string): Page | null {
  if (!page || id === undefined || event === 'goodbye') return null
  // An ephemeral notification has no cursor: it is emitted once and kept nowhere.
  if (event === 'notification' && !data.item.cursor) return page
  // A frame with only counts may repeat the cursor.
  const news = event === 'notification' || event === 'state'
  if (news ? !isAfter(id, page.cursor) : isAfter(page.cursor, id)) return null
  let next: Page = { ...page, cursor: id }
  // Expired items leave the list.
  if (event === 'heartbeat' && data.now)
    next = {
      ...next,
      items: page.items.filter((one) => !(Date.parse(one.expiresAt!) <= data.now!))
    }
  if (event === 'state') next = { ...next, ...mark(page, data, at), changedAt: id }
  if (event === 'notification') {
    const { item, op } = data
    const items = [
      item,
      ...page.items.filter((one) => one.id !== item.replaces && one.id !== item.id)
    ]
    next = {
      ...next,
      items: items.slice(0, MAX_ITEMS),
      counts: recount(page.counts, page.items, items),
      more: page.more || items.length > MAX_ITEMS,
      changedAt: op === 'updated' ? id : page.changedAt
    }
  }
  // The service's counts are right; without them the change of the list is counted.
  return { ...next, counts: data.counts ?? next.counts }
}

/**
 * What a fresh page brings over the one before it: the items created in between, oldest first, or
 * the reason why they cannot be listed.
 */
export function newsOf(before: Page, page: Page): ResetReason | readonly Item[] {
  const newer = ({ cursor }: Item): boolean => isAfter(cursor!, before.cursor)
  if (!sameLog(before.cursor, page.cursor)) return 'store_changed'
  // Some of them are older than this page.
  if (page.more && newer(page.items.at(-1)!)) return 'overflow'
  return page.items.filter(newer).reverse()
}
