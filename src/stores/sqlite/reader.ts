import { MAX_ENTRIES } from '../../bounds/limits.ts'
import { type Channel, channelsOf, isPersonal, userChannel } from '../../log/channel.ts'
import type { LoggedEvent, StateOp } from '../../log/event.ts'
import type { Counts, Entry, Marks } from '../../log/notification.ts'
import { UNTOUCHED } from '../../log/notification.ts'
import type {
  InboxItem,
  InboxPage,
  InboxStatus,
  LogGap,
  LogPage,
  NotificationDetails,
  StoredNotification,
  TicketHolder
} from '../../log/store.ts'
import { pageOf } from '../page.ts'
import { decodeRecipients } from './commands.ts'
import { type Database, openDatabase, type Row, type Statement } from './driver.ts'
import { ARCHIVED, READ, SEEN } from './flags.ts'

/** A place that a mark is for. */
export interface MarkPlace {
  readonly channel: Channel
  readonly seq: number
  readonly id: string
}

/** All short reads, on a read-only connection. Synchronous throughout: no transaction is open when a method returns. */
export class Reader {
  readonly #db: Database
  readonly #s: ReturnType<typeof statements>

  constructor(path: string) {
    this.#db = openDatabase(path, { readOnly: true, timeout: 1000 })
    this.#db.exec('PRAGMA cache_size = -32768')
    this.#s = statements(this.#db)
  }

  read(user: string, scope: readonly Channel[], after: number, limit: number): LogPage | LogGap {
    return this.#atOneMoment(() => {
      const now = Date.now()
      const s = this.#s
      const places: { channel: Channel; seq: number; state: boolean }[] = []
      if (after < this.#meta('floor')) return { gap: true }
      let recount = this.#isShared(after, scope)
      for (const channel of scope) {
        const floor = s.floor.get(channel)
        if (after < Number(floor?.['seq'] ?? 0)) return { gap: true }
        recount ||= after < Number(floor?.['dropped'] ?? 0)
        for (const row of s.entriesAfter.all(channel, after, now, limit + 1))
          places.push({ channel, seq: Number(row['seq']), state: false })
        for (const row of s.statesAfter.all(channel, after, limit + 1))
          places.push({ channel, seq: Number(row['seq']), state: true })
      }
      places.sort((a, b) => a.seq - b.seq)
      const read = ({ channel, seq, state }: (typeof places)[number]): LoggedEvent => {
        if (state) return stateEvent(s.state.get(seq)!)
        const row = s.entry.get(channel, seq, user)!
        // Expired and not yet swept: what it had replaced is gone with it.
        if (row['exp'] !== null && Number(row['exp']) <= now)
          return {
            kind: 'state',
            op: 'removed',
            channel,
            seq,
            ids: [row['replaces'] as string],
            upTo: null
          }
        return {
          kind: 'notification',
          op: row['replaces'] === null ? 'created' : 'updated',
          channel,
          seq,
          entry: entryOf(row),
          marks: marksOf(row)
        }
      }
      const { events, more } = pageOf(places, read, limit)
      const upTo = more ? (events.at(-1)?.seq ?? after) : this.#meta('head')
      return {
        events,
        upTo,
        more,
        counts: this.#count(user, scope, now),
        recount: recount && upTo > after
      }
    })
  }

  inbox(
    user: string,
    scope: readonly Channel[],
    query: { status: InboxStatus; limit: number; before?: number | undefined }
  ): InboxPage {
    return this.#atOneMoment(() => {
      const now = Date.now()
      const before = query.before ?? Number.MAX_SAFE_INTEGER
      const places =
        query.limit > 0 ? this.#list(user, scope, query.status, before, query.limit + 1, now) : []
      const more = places.length > query.limit
      if (more) places.length = query.limit
      const items = places.map(({ channel, seq }): InboxItem => {
        const row = this.#s.entry.get(channel, seq, user)!
        return { channel, entry: entryOf(row), marks: marksOf(row) }
      })
      return { items, counts: this.#count(user, scope, now), head: this.#meta('head'), more }
    })
  }

  counts(user: string, scope: readonly Channel[]): Counts {
    return this.#atOneMoment(() => this.#count(user, scope, Date.now()))
  }

  notification(id: string): StoredNotification | null {
    const row = this.#s.note.get(id, Date.now())
    if (!row) return null
    return {
      id,
      to: decodeRecipients(row['recipients'] as string),
      content: row['content'] as string,
      createdAt: Number(row['at']),
      producer: row['producer'] as string,
      ...(row['exp'] === null ? {} : { expiresAt: Number(row['exp']) })
    }
  }

  details(id: string, epoch: string): NotificationDetails | null {
    return this.#atOneMoment(() => {
      const stored = this.notification(id)
      if (!stored) return null
      const first = Number(this.#s.note.get(id, Date.now())?.['seq'])
      const readers = { seen: 0, read: 0, archived: 0 }
      const entries = channelsOf(stored.to)
        .map((channel, k) => ({ channel, seq: first + k, epoch }))
        .filter(({ channel, seq }) => {
          const row = this.#s.readers.get(channel, seq)!
          readers.seen += Number(row['seen'])
          readers.read += Number(row['read'])
          readers.archived += Number(row['archived'])
          return row['lies'] === 1
        })
      return { ...stored, entries, readers }
    })
  }

  /** Where the notifications lie that the user may mark, each once, in the order named. */
  places(user: string, ids: readonly string[], allows: (channel: Channel) => boolean): MarkPlace[] {
    const own = userChannel(user)
    const now = Date.now()
    return [...new Set(ids)].flatMap((id) => {
      const row = this.#s.note.get(id, now)
      if (!row) return []
      const first = Number(row['seq'])
      const channel = row['recipients'] as Channel
      // What is for users is looked for in the user's own channel: their list may have a thousand names, and so have each of the ids.
      if (!/^users?:/.test(channel)) return allows(channel) ? [{ channel, seq: first, id }] : []
      const entry = this.#s.ownEntry.get(own, first)
      return entry ? [{ channel: own, seq: Number(entry['seq']), id }] : []
    })
  }

  /** In how many channels a notification lies. */
  entriesOf(id: string): number {
    return Number(this.#s.left.get(id)?.['left_over'] ?? 0)
  }

  ticket(hash: string): TicketHolder | null {
    const row = this.#s.ticket.get(hash, Date.now())
    return row
      ? { user: row['user'] as string, topics: JSON.parse(row['topics'] as string) as string[] }
      : null
  }

  revokedAt(user: string): number {
    return Number(this.#s.revocation.get(user)?.['at'] ?? 0)
  }

  close(): void {
    this.#db.close()
  }

  /** Whether a place is that of an event of a shared channel of the scope. What is shared has one entry, in the note's own place. */
  #isShared(seq: number, scope: readonly Channel[]): boolean {
    const channel =
      this.#s.channelOfNote.get(seq)?.['channel'] ?? this.#s.state.get(seq)?.['channel']
    return (
      channel !== undefined && !isPersonal(channel as Channel) && scope.includes(channel as Channel)
    )
  }

  /** Newest first, at most `most`. A channel is looked into only while its newest entry may still be among them. */
  #list(
    user: string,
    scope: readonly Channel[],
    status: InboxStatus,
    before: number,
    most: number,
    now: number
  ): { channel: Channel; seq: number }[] {
    const s = this.#s
    const channels: { channel: Channel; newest: number; floor: number }[] = []
    for (const channel of scope) {
      const newest = Number(s.newest.get(channel, before)?.['seq'] ?? 0)
      const reach = status === 'archived' ? undefined : s.reach.get(user, channel)
      const floor = Number(reach?.[status === 'unread' ? 'done' : 'archived'] ?? 0)
      if (newest > floor) channels.push({ channel, newest, floor })
    }
    channels.sort((a, b) => b.newest - a.newest)
    const found: { channel: Channel; seq: number }[] = []
    for (const { channel, newest, floor } of channels) {
      const least = found.length < most ? 0 : found[most - 1]!.seq
      if (newest < least) break
      const rows = s.inbox[status].all(user, channel, before, now, most, Math.max(floor, least))
      if (rows.length === 0) continue
      for (const row of rows) found.push({ channel, seq: Number(row['seq']) })
      found.sort((a, b) => b.seq - a.seq)
      if (found.length > most) found.length = most
    }
    return found
  }

  /** Live entries less the marked ones, as far as the user has not got through the channel; see `reach.ts`. */
  #count(user: string, scope: readonly Channel[], now: number): Counts {
    const s = this.#s
    // Sizes count what has expired until the writer takes it out, a moment later.
    const overdue = s.overdue.get(now) !== undefined
    let unread = 0
    let unseen = 0
    for (const channel of scope) {
      const reach = s.reach.get(user, channel)
      const done = Number(reach?.['done'] ?? 0)
      const seen = Number(reach?.['seen'] ?? 0)
      const aboveDone = this.#live(channel, done, now, overdue)
      if (aboveDone > 0)
        unread += aboveDone - (reach ? Number(s.doneAbove.get(user, channel, done, now)!['n']) : 0)
      const aboveSeen = seen === done ? aboveDone : this.#live(channel, seen, now, overdue)
      if (aboveSeen > 0)
        unseen += aboveSeen - (reach ? Number(s.seenAbove.get(user, channel, seen, now)!['n']) : 0)
    }
    return { unread, unseen }
  }

  /** Live entries of a channel above a place. */
  #live(channel: Channel, above: number, now: number, overdue: boolean): number {
    const s = this.#s
    if (!overdue && !isPersonal(channel)) {
      if (above === 0) return Number(s.size.get(channel)?.['n'] ?? 0)
      if (Number(s.newest.get(channel, Number.MAX_SAFE_INTEGER)?.['seq'] ?? 0) <= above) return 0
      if (Number(s.oldest.get(channel)?.['seq'] ?? 0) > above)
        return Number(s.size.get(channel)?.['n'] ?? 0)
    }
    return Number(s.live.get(channel, above, now)!['n'])
  }

  #meta(key: 'head' | 'floor'): number {
    return Number(this.#s.meta.get(key)?.['v'])
  }

  #atOneMoment<T>(work: () => T): T {
    this.#s.begin.run()
    try {
      return work()
    } finally {
      this.#s.commit.run()
    }
  }
}

const entryOf = (row: Row): Entry => ({
  id: row['id'] as string,
  seq: Number(row['seq']),
  content: row['content'] as string,
  createdAt: Number(row['at']),
  times: Number(row['times']),
  ...(row['exp'] === null ? {} : { expiresAt: Number(row['exp']) }),
  ...(row['replaces'] === null ? {} : { replaces: row['replaces'] as string })
})

function marksOf(row: Row): Marks {
  const flags = row['flags'] as number | null
  if (flags === null) return UNTOUCHED
  return {
    readAt: row['read_at'] as number | null,
    seen: (flags & SEEN) !== 0,
    archived: (flags & ARCHIVED) !== 0
  }
}

const stateEvent = (row: Row): LoggedEvent => ({
  kind: 'state',
  op: row['op'] as StateOp,
  channel: row['channel'] as Channel,
  seq: Number(row['seq']),
  ids: row['ids'] === null ? null : (JSON.parse(row['ids'] as string) as string[]),
  upTo: row['up_to'] as number | null
})

/** Marks of a user on live entries of a channel above a place. */
const marksAbove = (index: string, which: string): string =>
  `SELECT count(*) AS n FROM mark m ${index} CROSS JOIN entry e ON e.channel = m.channel AND e.seq = m.seq
   WHERE m.user = ? AND m.channel = ? AND m.seq > ? ${which} AND (e.exp IS NULL OR e.exp > ?)`

function statements(db: Database) {
  const inbox = (marked: string): Statement =>
    db.prepare(
      `SELECT e.seq FROM entry e LEFT JOIN mark m ON m.user = ?1 AND m.channel = e.channel AND m.seq = e.seq
       WHERE e.channel = ?2 AND e.seq < ?3 AND e.seq > ?6 AND (e.exp IS NULL OR e.exp > ?4) AND ${marked}
       ORDER BY e.seq DESC LIMIT ?5`
    )
  return {
    begin: db.prepare('BEGIN'),
    commit: db.prepare('COMMIT'),
    meta: db.prepare('SELECT v FROM meta WHERE k = ?'),
    floor: db.prepare('SELECT seq, dropped FROM floor WHERE channel = ?'),
    channelOfNote: db.prepare('SELECT recipients AS channel FROM note WHERE seq = ?'),
    entriesAfter: db.prepare(
      'SELECT seq FROM entry WHERE channel = ?1 AND seq > ?2 AND (exp IS NULL OR exp > ?3 OR replaced <= ?2) ORDER BY seq LIMIT ?4'
    ),
    statesAfter: db.prepare(
      'SELECT seq FROM state WHERE channel = ?1 AND seq > ?2 AND since <= ?2 ORDER BY seq LIMIT ?3'
    ),
    state: db.prepare('SELECT seq, channel, op, ids, up_to FROM state WHERE seq = ?'),
    entry: db.prepare(
      `SELECT e.seq, e.times, e.replaces, e.exp, n.id, n.content, n.at, m.flags, m.read_at FROM entry e JOIN note n ON n.seq = e.note
       LEFT JOIN mark m ON m.user = ?3 AND m.channel = e.channel AND m.seq = e.seq WHERE e.channel = ?1 AND e.seq = ?2`
    ),
    inbox: {
      all: inbox(`(m.flags IS NULL OR m.flags & ${ARCHIVED} = 0)`),
      unread: inbox(`(m.flags IS NULL OR m.flags & ${ARCHIVED | READ} = 0)`),
      archived: db.prepare(
        `SELECT m.seq FROM mark m INDEXED BY mark_archived CROSS JOIN entry e ON e.channel = m.channel AND e.seq = m.seq
         WHERE m.user = ?1 AND m.channel = ?2 AND m.seq < ?3 AND m.seq > ?6 AND m.flags & ${ARCHIVED} <> 0
         AND (e.exp IS NULL OR e.exp > ?4) ORDER BY m.seq DESC LIMIT ?5`
      )
    },
    reach: db.prepare('SELECT done, seen, archived FROM reach WHERE user = ? AND channel = ?'),
    overdue: db.prepare('SELECT 1 FROM note WHERE exp <= ? LIMIT 1'),
    size: db.prepare('SELECT n FROM size WHERE channel = ?'),
    newest: db.prepare(
      'SELECT seq FROM entry WHERE channel = ? AND seq < ? ORDER BY seq DESC LIMIT 1'
    ),
    oldest: db.prepare('SELECT seq FROM entry WHERE channel = ? ORDER BY seq LIMIT 1'),
    live: db.prepare(
      'SELECT count(*) AS n FROM entry WHERE channel = ? AND seq > ? AND (exp IS NULL OR exp > ?)'
    ),
    doneAbove: db.prepare(
      marksAbove('INDEXED BY mark_done', `AND m.flags & ${READ | ARCHIVED} <> 0`)
    ),
    seenAbove: db.prepare(marksAbove('', '')),
    readers: db.prepare(
      `SELECT count(*) AS seen, count(*) FILTER (WHERE flags & ${READ}) AS read, count(*) FILTER (WHERE flags & ${ARCHIVED}) AS archived,
         EXISTS (SELECT 1 FROM entry WHERE channel = ?1 AND seq = ?2) AS lies
       FROM mark WHERE channel = ?1 AND seq = ?2`
    ),
    note: db.prepare(
      'SELECT seq, recipients, content, at, exp, producer FROM note WHERE id = ? AND (exp IS NULL OR exp > ?)'
    ),
    ownEntry: db.prepare(
      `SELECT seq FROM entry WHERE channel = ?1 AND seq BETWEEN ?2 AND ?2 + ${MAX_ENTRIES.recipients} AND note = ?2`
    ),
    left: db.prepare('SELECT left_over FROM note WHERE id = ?'),
    ticket: db.prepare('SELECT user, topics FROM ticket WHERE hash = ? AND exp > ?'),
    revocation: db.prepare('SELECT at FROM revocation WHERE user = ?')
  }
}
