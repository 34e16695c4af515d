import { MAX_ENTRIES } from '../../bounds/limits.ts'
import { type Channel, channelsOf, isPersonal, userChannel } from '../../log/channel.ts'
import type { LoggedEvent } from '../../log/event.ts'
import type { Counts } from '../../log/notification.ts'
import type {
  InboxPage,
  InboxQuery,
  LogGap,
  LogPage,
  NotificationDetails,
  Readers,
  StoredNotification,
  TicketHolder
} from '../../log/store.ts'
import { pageOf } from '../page.ts'
import type { MarkedEntry } from './commands.ts'
import type { Database } from './driver.ts'
import { InboxReader } from './inbox-reader.ts'
import { ARCHIVED, READ } from './mark-flags.ts'
import { RevokedUsers } from './revoked-users.ts'
import {
  type EntryRow,
  eventOf,
  type NoteRow,
  notificationOf,
  SELECT_ENTRY,
  type StateRow,
  stateEventOf
} from './rows.ts'
import { FIND_TICKET, holderOf, type TicketRow } from './tickets.ts'

/**
 * All short reads, on a read-only connection. Everything is synchronous: no transaction is open
 * when a method returns.
 */
export class Reader {
  readonly #db: Database
  readonly #inbox: InboxReader
  readonly #revoked: RevokedUsers
  readonly #s: ReturnType<typeof statements>

  /** `db` is closed by {@link close}. */
  constructor(db: Database) {
    this.#db = db
    this.#db.exec('PRAGMA cache_size = -32768')
    this.#inbox = new InboxReader(this.#db)
    this.#revoked = new RevokedUsers(this.#db)
    this.#s = statements(this.#db)
  }

  /** See `EventLog.read`. */
  read(user: string, scope: readonly Channel[], after: number, limit: number): LogPage | LogGap {
    return this.#atOneMoment(() => {
      const now = Date.now()
      if (after < this.#meta('floor')) return { gap: true }
      const floors = scope.map((channel) => this.#s.floor.get(channel) ?? { seq: 0, dropped: 0 })
      if (floors.some(({ seq }) => after < seq)) return { gap: true }
      const recount = this.#isShared(after, scope) || floors.some(({ dropped }) => after < dropped)
      const found = this.#eventsAfter(scope, after, limit + 1, now)
      const { events, more } = pageOf(found, (one) => this.#event(one, user, now), limit)
      const upTo = more ? (events.at(-1)?.seq ?? after) : this.#meta('head')
      const counts = this.#inbox.count(user, scope, now)
      return { events, upTo, more, counts, recount: recount && upTo > after }
    })
  }

  /** See `Inbox.inbox`. */
  inbox(user: string, scope: readonly Channel[], query: InboxQuery): InboxPage {
    return this.#atOneMoment(() => {
      const now = Date.now()
      const { items, more } = this.#inbox.page(user, scope, query, now)
      const counts = this.#inbox.count(user, scope, now)
      return { items, counts, head: this.#meta('head'), more }
    })
  }

  /** See `Inbox.counts`. */
  counts(user: string, scope: readonly Channel[]): Counts {
    return this.#atOneMoment(() => this.#inbox.count(user, scope, Date.now()))
  }

  /** See `EventLog.notification`. */
  notification(id: string): StoredNotification | null {
    const row = this.#s.note.get(id, Date.now())
    return row ? notificationOf(row) : null
  }

  /** See `Operator.details`. */
  details(id: string, epoch: string): NotificationDetails | null {
    return this.#atOneMoment(() => {
      const row = this.#s.note.get(id, Date.now())
      if (!row) return null
      const stored = notificationOf(row)
      const readers = { seen: 0, read: 0, archived: 0 }
      const entries = channelsOf(stored.to)
        .map((channel, k) => ({ channel, seq: row.seq + k, epoch }))
        .filter(({ channel, seq }) => {
          const marks = this.#s.readers.get(channel, seq)
          readers.seen += marks?.seen ?? 0
          readers.read += marks?.read ?? 0
          readers.archived += marks?.archived ?? 0
          return marks?.live === 1
        })
      return { ...stored, entries, readers }
    })
  }

  /** The entries with these ids that the user may mark, each once, in the order of the ids. */
  markable(
    user: string,
    ids: readonly string[],
    allows: (channel: Channel) => boolean
  ): MarkedEntry[] {
    const own = userChannel(user)
    const now = Date.now()
    return [...new Set(ids)].flatMap((id): MarkedEntry[] => {
      const row = this.#s.channelOfId.get(id, now)
      if (!row) return []
      const { channel, seq } = row
      if (channel !== null) return allows(channel) ? [{ channel, seq, id }] : []
      // Looked for in the user's own channel, because a list of recipients may have a thousand
      // names, and there may be 500 ids.
      const entry = this.#s.ownEntry.get(own, seq)
      return entry ? [{ channel: own, seq: entry.seq, id }] : []
    })
  }

  /** In how many channels a notification still has an entry. */
  entriesLeft(id: string): number {
    return this.#s.entriesLeft.get(id)?.n ?? 0
  }

  /** The holder of a ticket, which stays valid; null if it is unknown, used, expired or revoked. */
  ticket(hash: string): TicketHolder | null {
    const row = this.#s.ticket.get(hash, Date.now())
    return row ? holderOf(row) : null
  }

  /** The user is about to be revoked. */
  revoking(user: string): void {
    this.#revoked.add(user)
  }

  /** See `Credentials.revokedAt`. */
  revokedAt(user: string): number {
    if (!this.#revoked.mayContain(user)) return 0
    return this.#s.revocation.get(user)?.at ?? 0
  }

  close(): void {
    this.#db.close()
  }

  /** Where the next events of a scope are, in order: at most `most` of each kind and channel. */
  #eventsAfter(
    scope: readonly Channel[],
    after: number,
    most: number,
    now: number
  ): EventPointer[] {
    const found: EventPointer[] = []
    for (const channel of scope) {
      for (const { seq } of this.#s.entriesAfter.all(channel, after, now, most))
        found.push({ channel, seq, state: false })
      for (const { seq } of this.#s.statesAfter.all(channel, after, most))
        found.push({ channel, seq, state: true })
    }
    return found.sort((a, b) => a.seq - b.seq)
  }

  #event({ channel, seq, state }: EventPointer, user: string, now: number): LoggedEvent {
    if (state) return stateEventOf(found(this.#s.state.get(seq)))
    return eventOf(found(this.#s.entry.get(channel, seq, user)), channel, now)
  }

  /**
   * Whether a seq is that of an event in a shared channel of the scope. In a shared channel an
   * entry has the seq of its note.
   */
  #isShared(seq: number, scope: readonly Channel[]): boolean {
    const channel = this.#s.channelOfNote.get(seq)?.channel ?? this.#s.state.get(seq)?.channel
    return channel !== undefined && !isPersonal(channel) && scope.includes(channel)
  }

  #meta(key: 'head' | 'floor'): number {
    return this.#s.meta.get(key)?.v ?? 0
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

/** Where an event is: in `state` or in `entry`. */
interface EventPointer {
  readonly channel: Channel
  readonly seq: number
  readonly state: boolean
}

/** A row that the same transaction has seen already. */
function found<R>(row: R | undefined): R {
  if (row === undefined) throw new Error('a row disappeared within a transaction')
  return row
}

function statements(db: Database) {
  return {
    begin: db.prepare('BEGIN'),
    commit: db.prepare('COMMIT'),
    meta: db.prepare<{ v: number }>('SELECT v FROM meta WHERE k = ?'),
    floor: db.prepare<{ seq: number; dropped: number }>(
      'SELECT seq, dropped FROM floor WHERE channel = ?'
    ),
    channelOfNote: db.prepare<{ channel: Channel }>(
      "SELECT recipients AS channel FROM note WHERE seq = ? AND substr(recipients, 1, 6) <> 'users:'"
    ),
    channelOfId: db.prepare<{ seq: number; channel: Channel | null }>(
      `SELECT seq, CASE WHEN substr(recipients, 1, 4) = 'user' THEN NULL ELSE recipients END AS channel
       FROM note WHERE id = ? AND (exp IS NULL OR exp > ?)`
    ),
    entriesAfter: db.prepare<{ seq: number }>(
      'SELECT seq FROM entry WHERE channel = ?1 AND seq > ?2 AND (exp IS NULL OR exp > ?3 OR replaced <= ?2) ORDER BY seq LIMIT ?4'
    ),
    statesAfter: db.prepare<{ seq: number }>(
      'SELECT seq FROM state WHERE channel = ?1 AND seq > ?2 AND since <= ?2 ORDER BY seq LIMIT ?3'
    ),
    state: db.prepare<StateRow>('SELECT seq, channel, op, ids, up_to FROM state WHERE seq = ?'),
    entry: db.prepare<EntryRow>(SELECT_ENTRY),
    readers: db.prepare<Readers & { live: number }>(
      `SELECT count(*) AS seen, count(*) FILTER (WHERE flags & ${READ}) AS read, count(*) FILTER (WHERE flags & ${ARCHIVED}) AS archived,
         EXISTS (SELECT 1 FROM entry WHERE channel = ?1 AND seq = ?2) AS live
       FROM mark WHERE channel = ?1 AND seq = ?2`
    ),
    note: db.prepare<NoteRow>(
      'SELECT seq, id, recipients, content, at, exp, producer FROM note WHERE id = ? AND (exp IS NULL OR exp > ?)'
    ),
    ownEntry: db.prepare<{ seq: number }>(
      `SELECT seq FROM entry WHERE channel = ?1 AND seq BETWEEN ?2 AND ?2 + ${MAX_ENTRIES.recipients} AND note = ?2`
    ),
    entriesLeft: db.prepare<{ n: number }>('SELECT left_over AS n FROM note WHERE id = ?'),
    ticket: db.prepare<TicketRow>(FIND_TICKET),
    revocation: db.prepare<{ at: number }>('SELECT at FROM revocation WHERE user = ?')
  }
}
