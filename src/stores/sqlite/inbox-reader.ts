import { type Channel, isPersonal } from '../../log/channel.ts'
import type { Counts } from '../../log/notification.ts'
import type { InboxItem, InboxQuery, InboxStatus } from '../../log/store.ts'
import type { Database, Statement } from './driver.ts'
import { ARCHIVED, READ } from './mark-flags.ts'
import { type EntryRow, entryOf, marksOf, SELECT_ENTRY } from './rows.ts'
import { FIND_WATERMARKS, type WatermarkRow } from './watermarks.ts'

/**
 * Lists and counts what a user has, within a transaction of the caller's. It only looks above the
 * watermarks; see `watermarks.ts`.
 */
export class InboxReader {
  readonly #s: ReturnType<typeof statements>
  readonly #inbox: Readonly<Record<InboxStatus, Statement<SeqRow>>>

  constructor(db: Database) {
    this.#s = statements(db)
    this.#inbox = inboxStatements(db)
  }

  /** The first items of an inbox, newest first, and whether there are more. */
  page(
    user: string,
    scope: readonly Channel[],
    { status, limit, before = Number.MAX_SAFE_INTEGER }: InboxQuery,
    now: number
  ): { readonly items: InboxItem[]; readonly more: boolean } {
    if (limit === 0) return { items: [], more: false }
    const found = this.#newest(user, scope, status, before, limit + 1, now)
    const items = found.slice(0, limit).flatMap(({ channel, seq }): InboxItem[] => {
      const row = this.#s.entry.get(channel, seq, user)
      return row ? [{ channel, entry: entryOf(row), marks: marksOf(row) }] : []
    })
    return { items, more: found.length > limit }
  }

  /** The user's unread and unseen entries: the live ones less those with marks. */
  count(user: string, scope: readonly Channel[], now: number): Counts {
    const s = this.#s
    // The sizes include what has expired until the writer removes it, a moment later.
    const overdue = s.overdue.get(now) !== undefined
    let unread = 0
    let unseen = 0
    for (const channel of scope) {
      const marked = s.watermarks.get(user, channel)
      const { done, seen } = marked ?? { done: 0, seen: 0 }
      const aboveDone = this.#live(channel, done, now, overdue)
      if (aboveDone > 0)
        unread += aboveDone - (marked ? countOf(s.doneAbove, user, channel, done, now) : 0)
      const aboveSeen = seen === done ? aboveDone : this.#live(channel, seen, now, overdue)
      if (aboveSeen > 0)
        unseen += aboveSeen - (marked ? countOf(s.seenAbove, user, channel, seen, now) : 0)
    }
    return { unread, unseen }
  }

  /**
   * Newest first, at most `most`. Looks into a channel only while its newest entry may be among
   * them.
   */
  #newest(
    user: string,
    scope: readonly Channel[],
    status: InboxStatus,
    before: number,
    most: number,
    now: number
  ): { readonly channel: Channel; readonly seq: number }[] {
    const channels = scope
      .map((channel) => ({
        channel,
        newest: this.#s.newest.get(channel, before)?.seq ?? 0,
        floor: this.#floorOf(user, channel, status)
      }))
      .filter(({ newest, floor }) => newest > floor)
      .sort((a, b) => b.newest - a.newest)
    const found: { channel: Channel; seq: number }[] = []
    for (const { channel, newest, floor } of channels) {
      const least = found[most - 1]?.seq ?? 0
      if (newest < least) break
      const above = Math.max(floor, least)
      for (const { seq } of this.#inbox[status].all(user, channel, before, now, most, above))
        found.push({ channel, seq })
      found.sort((a, b) => b.seq - a.seq)
      if (found.length > most) found.length = most
    }
    return found
  }

  /** No entry up to this seq belongs on the list. */
  #floorOf(user: string, channel: Channel, status: InboxStatus): number {
    if (status === 'archived') return 0
    const marked = this.#s.watermarks.get(user, channel)
    return marked?.[status === 'unread' ? 'done' : 'archived'] ?? 0
  }

  /** Live entries of a channel above a seq. */
  #live(channel: Channel, above: number, now: number, overdue: boolean): number {
    const s = this.#s
    if (!overdue && !isPersonal(channel)) {
      if (above === 0) return countOf(s.size, channel)
      if ((s.newest.get(channel, Number.MAX_SAFE_INTEGER)?.seq ?? 0) <= above) return 0
      if ((s.oldest.get(channel)?.seq ?? 0) > above) return countOf(s.size, channel)
    }
    return countOf(s.live, channel, above, now)
  }
}

interface SeqRow {
  readonly seq: number
}
interface CountRow {
  readonly n: number
}

const countOf = (statement: Statement<CountRow>, ...values: (string | number)[]): number =>
  statement.get(...values)?.n ?? 0

/** Counts the marks of a user on live entries of a channel above a seq. */
const marksAbove = (index: string, which: string): string =>
  `SELECT count(*) AS n FROM mark m ${index} CROSS JOIN entry e ON e.channel = m.channel AND e.seq = m.seq
   WHERE m.user = ? AND m.channel = ? AND m.seq > ? ${which} AND (e.exp IS NULL OR e.exp > ?)`

function statements(db: Database) {
  return {
    entry: db.prepare<EntryRow>(SELECT_ENTRY),
    watermarks: db.prepare<WatermarkRow>(FIND_WATERMARKS),
    overdue: db.prepare('SELECT 1 FROM note WHERE exp <= ? LIMIT 1'),
    size: db.prepare<CountRow>('SELECT n FROM size WHERE channel = ?'),
    newest: db.prepare<SeqRow>(
      'SELECT seq FROM entry WHERE channel = ? AND seq < ? ORDER BY seq DESC LIMIT 1'
    ),
    oldest: db.prepare<SeqRow>('SELECT seq FROM entry WHERE channel = ? ORDER BY seq LIMIT 1'),
    live: db.prepare<CountRow>(
      'SELECT count(*) AS n FROM entry WHERE channel = ? AND seq > ? AND (exp IS NULL OR exp > ?)'
    ),
    doneAbove: db.prepare<CountRow>(
      marksAbove('INDEXED BY mark_done', `AND m.flags & ${READ | ARCHIVED} <> 0`)
    ),
    seenAbove: db.prepare<CountRow>(marksAbove('', ''))
  }
}

function inboxStatements(db: Database): Record<InboxStatus, Statement<SeqRow>> {
  const withoutFlags = (flags: number): Statement<SeqRow> =>
    db.prepare(
      `SELECT e.seq FROM entry e LEFT JOIN mark m ON m.user = ?1 AND m.channel = e.channel AND m.seq = e.seq
       WHERE e.channel = ?2 AND e.seq < ?3 AND e.seq > ?6 AND (e.exp IS NULL OR e.exp > ?4)
       AND (m.flags IS NULL OR m.flags & ${flags} = 0) ORDER BY e.seq DESC LIMIT ?5`
    )
  return {
    all: withoutFlags(ARCHIVED),
    unread: withoutFlags(ARCHIVED | READ),
    archived: db.prepare(
      `SELECT m.seq FROM mark m INDEXED BY mark_archived CROSS JOIN entry e ON e.channel = m.channel AND e.seq = m.seq
       WHERE m.user = ?1 AND m.channel = ?2 AND m.seq < ?3 AND m.seq > ?6 AND m.flags & ${ARCHIVED} <> 0
       AND (e.exp IS NULL OR e.exp > ?4) ORDER BY m.seq DESC LIMIT ?5`
    )
  }
}
