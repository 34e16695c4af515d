import { isAfter } from './cursor.ts'
import type { Frame } from './frame.ts'
import type { Counts, InboxEvents, Item } from './types.ts'

/** What the service has told us, up to a place in the log. */
export interface Page {
  readonly user: string
  readonly cursor: string
  /** Newest first. */
  readonly items: readonly Item[]
  readonly counts: Counts
  /** The place that `counts` were told for: a shared notification up to it is in them already. */
  readonly countsAt: string
  /** The last event that changed what there was: a page of older items read before it may be out of date. */
  readonly changedAt: string
  /** Whether there may be older items. */
  readonly more: boolean
}

/** A mark, asked for by the user or told by the service. */
export type Mark = InboxEvents['state']

/** Items kept of a page that only ever grows; older ones can be loaded again. */
const MAX_ITEMS = 1000

type Shown = Pick<Page, 'items' | 'counts'>

const unread = (item: Item | undefined): number => (item && item.readAt === null ? 1 : 0)
const unseen = (item: Item | undefined): number => (item && !item.seen ? 1 : 0)

/** What a mark leaves of an item; undefined: nothing. */
function marked(item: Item, op: Mark['op'], at: string): Item | undefined {
  if (op === 'read') return item.readAt === null || !item.seen ? { ...item, readAt: item.readAt ?? at, seen: true } : item
  if (op === 'unread') return item.readAt === null ? item : { ...item, readAt: null }
  if (op === 'seen') return item.seen ? item : { ...item, seen: true }
  return undefined
}

/** Applies a mark to what is shown, and to the counts as far as what is shown tells them. */
export function mark({ items, counts }: Shown, { op, ids, upTo }: Mark, at: string): Shown {
  const named = ids && new Set(ids)
  const kept: Item[] = []
  let sum = counts
  let newer: Counts = { unread: 0, unseen: 0 }
  for (const item of items) {
    if (named ? !named.has(item.id) : !upTo || isAfter(item.cursor!, upTo)) {
      kept.push(item)
      newer = { unread: newer.unread + unread(item), unseen: newer.unseen + unseen(item) }
      continue
    }
    const next = marked(item, op, at)
    sum = { unread: sum.unread - unread(item) + unread(next), unseen: sum.unseen - unseen(item) + unseen(next) }
    if (next) kept.push(next)
  }
  // Up to a place means also what is older than the list: all that is left to count is newer, and that is in the list.
  if (!named) sum = { unread: op === 'seen' ? counts.unread : newer.unread, unseen: newer.unseen }
  return { items: kept, counts: { unread: Math.max(0, sum.unread), unseen: Math.max(0, sum.unseen) } }
}

/** Whether a frame tells something that the page does not hold yet: this is what makes it exactly once. */
export function isNews(page: Page | null, { event, data, id }: Frame): boolean {
  if (event === 'ready' || event === 'reset') return true
  if (!page) return false
  // An ephemeral notification has no place: it is told once, to who is there.
  if (event === 'notification' && data.item.cursor === null) return true
  // Counts may change without an event of their own.
  if (event === 'heartbeat' || event === 'counts') return id !== undefined && !isAfter(page.cursor, id)
  return id !== undefined && isAfter(id, page.cursor)
}

/** The page with one frame more that is news, or null where there is none yet. */
export function apply(page: Page | null, frame: Frame, pageSize: number): Page | null {
  const { event, data, id } = frame
  if (event === 'reset' || (event === 'ready' && !data.resumed)) {
    const { user, items, counts } = data
    return { user, items, counts, cursor: id!, countsAt: id!, changedAt: id!, more: items.length >= pageSize }
  }
  if (!page || id === undefined) return page
  if (event === 'ready') return { ...page, counts: data.counts }
  if (event === 'counts') return { ...page, counts: data.counts, countsAt: id }
  if (event === 'notification' && data.item.cursor === null) return page
  const told = event === 'goodbye' ? undefined : data.counts
  const next = { ...page, cursor: id, ...(told && { counts: told, countsAt: id }) }
  // Counts that were told for this place or a later one hold what this event would change.
  const known = told !== undefined || !isAfter(id, page.countsAt)
  if (event === 'state') {
    const { items, counts } = mark(page, data, new Date().toISOString())
    return { ...next, items, counts: known ? next.counts : counts, changedAt: id }
  }
  if (event !== 'notification') return next
  const { item, op } = data
  const old = page.items.find((one) => one.id === item.replaces)
  const items = [item, ...page.items.filter((one) => one !== old && one.id !== item.id)]
  // What took the place of one that we do not have: a heartbeat will tell the counts.
  const one = old || op === 'created' ? 1 : 0
  const { counts } = next
  return {
    ...next,
    items: items.slice(0, MAX_ITEMS),
    more: page.more || items.length > MAX_ITEMS,
    changedAt: op === 'updated' ? id : page.changedAt,
    counts: known ? counts : { unread: counts.unread + one - unread(old), unseen: counts.unseen + one - unseen(old) }
  }
}

/** The page without what has expired. */
export function withoutExpired(page: Page, now: number): Page {
  const gone = page.items.filter(({ expiresAt }) => expiresAt && Date.parse(expiresAt) <= now)
  const ids = gone.map(({ id }) => id)
  return gone.length ? { ...page, ...mark(page, { op: 'removed', ids, upTo: null }, '') } : page
}
