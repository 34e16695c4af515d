import type { Channel } from '../../log/channel.ts'
import type { FollowedEvent, LoggedEvent, MarkOp, StateOp } from '../../log/event.ts'
import { type Entry, type Marks, UNTOUCHED } from '../../log/notification.ts'
import type { InboxItem } from '../../log/store.ts'

/** A place in the stream of what is followed: places in the log, and in between what has none. */
export interface StreamPlace {
  readonly seq: number
  readonly sub: number
}

/** Reads `seq-sub`. */
export function parsePlace(text: string): StreamPlace {
  const dash = text.indexOf('-')
  return { seq: Number(text.slice(0, dash)), sub: Number(text.slice(dash + 1)) }
}

export const isAfter = (a: StreamPlace, b: StreamPlace): boolean =>
  a.seq > b.seq || (a.seq === b.seq && a.sub > b.sub)

/** An entry of the stream as XRANGE gives it. */
export type StreamEntry = readonly [place: string, fields: readonly string[]]

/** What a stream entry became; null for a fence, which is for the node alone. */
export function decodeFollowed([place, fields]: StreamEntry): FollowedEvent | null {
  const [, kind, , channel, , head = '', , body = ''] = fields
  const { seq } = parsePlace(place)
  switch (kind) {
    case 'n': {
      const [id = '', createdAt, expiresAt = '', times, replaces = ''] = head.split(' ')
      const entry = entryOf(id, seq, body, createdAt, expiresAt, times, replaces)
      const op = entry.replaces === undefined ? 'created' : 'updated'
      return { kind: 'notification', op, channel: channel as Channel, seq, entry }
    }
    case 's': {
      const [op, upTo] = head.split(' ')
      return stateOf(channel as Channel, seq, op as StateOp, upTo ?? '-', body)
    }
    case 'e': {
      const [id = '', createdAt, expiresAt = ''] = head.split(' ')
      const { seq: _, ...entry } = entryOf(id, 0, body, createdAt, expiresAt, '0', '')
      return { kind: 'ephemeral', channel: channel as Channel, entry }
    }
    case 'd':
      return { kind: 'dropped', channel: channel as Channel }
    case 'r':
      return { kind: 'revoked', user: channel as string }
    default:
      return null
  }
}

/** Fields that one entry takes in an answer, see `push_entry` in `prelude-marks.lua`. */
const ENTRY_FIELDS = 9

/** The events of an answer of `read-2.lua`, which begin at `from`. */
export function decodeEvents(answer: readonly string[], from: number): LoggedEvent[] {
  const events: LoggedEvent[] = []
  for (let at = from; at < answer.length; ) {
    if (answer[at] === 's') {
      const [channel, seq, op, upTo = '-', ids = ''] = answer.slice(at + 1, at + 6)
      events.push(stateOf(channel as Channel, Number(seq), op as MarkOp, upTo, ids))
      at += 6
    } else {
      const { channel, entry, marks } = decodeItem(answer, at + 1)
      const op = entry.replaces === undefined ? 'created' : 'updated'
      events.push({ kind: 'notification', op, channel, seq: entry.seq, entry, marks })
      at += 1 + ENTRY_FIELDS
    }
  }
  return events
}

/** The items of an answer of `inbox-2.lua`, which begin at `from`. */
export function decodeItems(answer: readonly string[], from: number): InboxItem[] {
  const items: InboxItem[] = []
  for (let at = from; at < answer.length; at += ENTRY_FIELDS) items.push(decodeItem(answer, at))
  return items
}

function decodeItem(answer: readonly string[], at: number): InboxItem {
  const [
    channel,
    seq,
    id = '',
    content = '',
    createdAt,
    expiresAt = '',
    times,
    replaces = '',
    mark = ''
  ] = answer.slice(at, at + ENTRY_FIELDS)
  const entry = entryOf(id, Number(seq), content, createdAt, expiresAt, times, replaces)
  return { channel: channel as Channel, entry, marks: marksOf(mark) }
}

function marksOf(mark: string): Marks {
  if (mark === '') return UNTOUCHED
  const [readAt, archived] = mark.split(' ')
  return { readAt: readAt === '-' ? null : Number(readAt), seen: true, archived: archived === '1' }
}

function entryOf(
  id: string,
  seq: number,
  content: string,
  createdAt: string | undefined,
  expiresAt: string,
  times: string | undefined,
  replaces: string
): Entry {
  return {
    id,
    seq,
    content,
    createdAt: Number(createdAt),
    expiresAt: expiresAt === '' ? undefined : Number(expiresAt),
    times: Number(times),
    replaces: replaces === '' ? undefined : replaces
  }
}

function stateOf(
  channel: Channel,
  seq: number,
  op: StateOp,
  upTo: string,
  ids: string
): LoggedEvent {
  return {
    kind: 'state',
    op,
    channel,
    seq,
    ids: ids === '*' ? null : ids.split(' '),
    upTo: upTo === '-' ? null : Number(upTo)
  }
}
