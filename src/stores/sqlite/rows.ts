import type { Channel } from '../../log/channel.ts'
import { type NotificationEvent, opOf, type StateEvent, type StateOp } from '../../log/event.ts'
import { type Entry, type Marks, UNTOUCHED } from '../../log/notification.ts'
import type { StoredNotification } from '../../log/store.ts'
import { ARCHIVED, SEEN } from './mark-flags.ts'
import { decodeRecipients } from './recipients.ts'

/** The columns of an entry with its content and the marks of one user. */
export interface EntryRow {
  readonly seq: number
  readonly times: number
  readonly replaces: string | null
  readonly exp: number | null
  readonly id: string
  readonly content: string
  readonly at: number
  /** Null if the user has no marks on it, as is `read_at`. */
  readonly flags: number | null
  readonly read_at: number | null
}

/** Selects an {@link EntryRow} by channel, seq and user. */
export const SELECT_ENTRY = `SELECT e.seq, e.times, e.replaces, e.exp, n.id, n.content, n.at, m.flags, m.read_at
   FROM entry e JOIN note n ON n.seq = e.note
   LEFT JOIN mark m ON m.user = ?3 AND m.channel = e.channel AND m.seq = e.seq WHERE e.channel = ?1 AND e.seq = ?2`

/** The entry of a row. */
export const entryOf = ({ id, seq, content, at, times, exp, replaces }: EntryRow): Entry => ({
  id,
  seq,
  content,
  createdAt: at,
  times,
  ...(exp === null ? {} : { expiresAt: exp }),
  ...(replaces === null ? {} : { replaces })
})

/** The marks of a row. */
export function marksOf({ flags, read_at }: EntryRow): Marks {
  if (flags === null) return UNTOUCHED
  return {
    readAt: read_at,
    seen: (flags & SEEN) !== 0,
    archived: (flags & ARCHIVED) !== 0
  }
}

/**
 * The event that appended an entry or, once it has expired, the one that says that the entry it
 * replaced is gone.
 */
export function eventOf(
  row: EntryRow,
  channel: Channel,
  now: number
): NotificationEvent | StateEvent {
  const { seq, exp, replaces } = row
  if (replaces !== null && exp !== null && exp <= now)
    return { kind: 'state', op: 'removed', channel, seq, ids: [replaces], upTo: null }
  const entry = entryOf(row)
  return { kind: 'notification', op: opOf(entry), channel, seq, entry, marks: marksOf(row) }
}

/** The columns of a state event. */
export interface StateRow {
  readonly seq: number
  readonly channel: Channel
  readonly op: StateOp
  readonly ids: string | null
  readonly up_to: number | null
}

/** The event of a row. */
export const stateEventOf = ({ seq, channel, op, ids, up_to }: StateRow): StateEvent => ({
  kind: 'state',
  op,
  channel,
  seq,
  ids: ids === null ? null : JSON.parse(ids),
  upTo: up_to
})

/** The columns of a notification. The entry in the k-th of its channels has the seq `seq + k`. */
export interface NoteRow {
  readonly seq: number
  readonly id: string
  readonly recipients: string
  readonly content: string
  readonly at: number
  readonly exp: number | null
  readonly producer: string
}

/** The notification of a row. */
export const notificationOf = (row: NoteRow): StoredNotification => ({
  id: row.id,
  to: decodeRecipients(row.recipients),
  content: row.content,
  createdAt: row.at,
  producer: row.producer,
  ...(row.exp === null ? {} : { expiresAt: row.exp })
})
