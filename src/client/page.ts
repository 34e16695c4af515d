import { isAfter } from './cursor.ts'
import type { Frame, Ready } from './frame.ts'
import type { Counts, InboxEvents, Item } from './types.ts'

/** What the service has told us, up to a place in the log. */
export interface Page {
  readonly user: string
  /** The topics that list and counts tell of; null: others than those of the credential by now, so the page is to be replaced. */
  readonly topics: string | null
  readonly cursor: string
  /** Newest first. */
  readonly items: readonly Item[]
  readonly counts: Counts
  /** The last event that changed what there was: a page of older items read before it may be out of date. */
  readonly changedAt: string
  /** Whether there may be older items. */
  readonly more: boolean
}

/** A mark, asked for by the user or told by the service. */
export type Mark = InboxEvents['state']

/** The most items that the service puts into one page. */
const MAX_PAGE = 100
/** Items kept of a page that only ever grows, here and over a reload; older ones can be loaded again. */
const MAX_ITEMS = 500

type Items = readonly Item[]

const tally = (items: Items): Counts => ({
  unread: items.filter(({ readAt }) => !readAt).length,
  unseen: items.filter(({ seen }) => !seen).length
})

/** The counts after a change of the list, as far as the list tells them. */
function recount({ unread, unseen }: Counts, before: Items, after: Items): Counts {
  const [was, is] = [tally(before), tally(after)]
  return {
    unread: Math.max(0, unread + is.unread - was.unread),
    unseen: Math.max(0, unseen + is.unseen - was.unseen)
  }
}

/** Applies a mark to what is shown. */
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
  // Up to a place means also what is older than the list: all that is left to count is newer, and that is in the list.
  const { unread, unseen } = tally(left)
  return { items: left, counts: { unread: op === 'seen' ? counts.unread : unread, unseen } }
}

/** How many items to ask for: one more than are shown tells whether there are older ones. */
export const askedItems = (pageSize: number): number => Math.min(MAX_PAGE, pageSize + 1)

/** Whether a frame brings a page that needs nothing before it. */
export const isFresh = ({ event, data }: Frame): boolean =>
  event === 'reset' || (event === 'ready' && !data.resumed)

/** The page that a fresh frame brings. */
export function pageOf({ id, data }: Frame, pageSize: number): Page {
  const { user, topics, items, counts } = data as Ready
  const more = items.length >= askedItems(pageSize)
  return {
    user,
    topics: `${topics}`,
    items: items.slice(0, pageSize),
    counts,
    cursor: id!,
    changedAt: id!,
    more
  }
}

/** The page with one frame more; null where that tells nothing that is not in it already. This is what makes it exactly once. */
export function apply(page: Page | null, { event, data, id }: Frame, at: string): Page | null {
  if (!page || id === undefined || event === 'goodbye') return null
  // An ephemeral notification has no place: it is told once, to who is there.
  if (event === 'notification' && !data.item.cursor) return page
  // What only tells counts may do so without an event of its own.
  const news = event === 'notification' || event === 'state'
  if (news ? !isAfter(id, page.cursor) : isAfter(page.cursor, id)) return null
  let next: Page = { ...page, cursor: id }
  // What has expired by then is on no list.
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
  // What the service counts is right; without it, the list tells what has changed.
  return { ...next, counts: data.counts ?? next.counts }
}
