import type { FollowedEvent, LoggedEvent, StateOp } from '../../log/event.ts'
import { type Entry, type Marks, type Recipients, UNTOUCHED } from '../../log/notification.ts'
import type {
  InboxItem,
  InboxPage,
  LogGap,
  LogPage,
  NotificationDetails,
  StoredNotification
} from '../../log/store.ts'
import type { Fence } from '../fenced-seqs.ts'
import { channelOf, listOf, momentOr, ReplyReader, textOf, UnexpectedReply } from './replies.ts'
import { parseStreamId, type StreamId } from './stream-id.ts'

/** An entry of the stream; `event` is null for what concerns the nodes alone. */
export interface StreamEntry {
  readonly id: StreamId
  readonly event: FollowedEvent | null
}

/** The reply to XRANGE on the stream of the log; `emit` in `prelude-log.lua` writes its entries. */
export const decodeStream = (reply: unknown): StreamEntry[] => listOf(reply).map(decodeStreamEntry)

function decodeStreamEntry(reply: unknown): StreamEntry {
  const [id, fields] = listOf(reply)
  const streamId = parseStreamId(textOf(id))
  const [, kind, , channel, , head, , body] = listOf(fields)
  return {
    id: streamId,
    event: eventOf(textOf(kind), channel, textOf(head), textOf(body), streamId)
  }
}

function eventOf(
  kind: string,
  channel: unknown,
  head: string,
  body: string,
  { seq }: StreamId
): FollowedEvent | null {
  switch (kind) {
    case 'n': {
      const [id, createdAt, expiresAt, times, replaces] = head.split(' ')
      const entry = entryOf({ id, seq, content: body, createdAt, expiresAt, times, replaces })
      return { ...notificationOf(entry), channel: channelOf(channel), seq }
    }
    case 's': {
      const [op = '', upTo = '-'] = head.split(' ')
      return { ...stateOf(op, upTo, body), channel: channelOf(channel), seq }
    }
    case 'e': {
      const [id, createdAt, expiresAt] = head.split(' ')
      const { seq: _, ...entry } = entryOf({ id, seq: 0, content: body, createdAt, expiresAt })
      return { kind: 'ephemeral', channel: channelOf(channel), entry }
    }
    case 'd':
      return { kind: 'dropped', channel: channelOf(channel) }
    case 'r':
      return { kind: 'revoked', user: textOf(channel) }
    default:
      return null
  }
}

/** The reply of `read-2.lua`. */
export function decodeLogPage(reply: unknown): LogPage | LogGap {
  const values = new ReplyReader(reply)
  if (values.done) return { gap: true }
  const upTo = values.skip().number()
  const more = values.flag()
  const counts = { unread: values.number(), unseen: values.number() }
  const recount = values.flag()
  const events: LoggedEvent[] = []
  while (!values.done) events.push(loggedEventOf(values))
  return { events, upTo, more, counts, recount }
}

function loggedEventOf(values: ReplyReader): LoggedEvent {
  if (values.text() === 's') {
    const [channel, seq] = [values.channel(), values.number()]
    return { ...stateOf(values.text(), values.text(), values.text()), channel, seq }
  }
  const { channel, entry, marks } = inboxItemOf(values)
  return { ...notificationOf(entry), channel, seq: entry.seq, marks }
}

/** The reply of `inbox-2.lua`. */
export function decodeInboxPage(reply: unknown): InboxPage {
  const values = new ReplyReader(reply).skip()
  const head = values.number()
  const more = values.flag()
  const counts = { unread: values.number(), unseen: values.number() }
  const items: InboxItem[] = []
  while (!values.done) items.push(inboxItemOf(values))
  return { items, counts, head, more }
}

/** The reply of `get-notification-2.lua`; null if there is no such notification. */
export function decodeNotification(id: string, reply: unknown): StoredNotification | null {
  const values = new ReplyReader(reply)
  return values.done ? null : storedOf(id, values)
}

/** The same with its entries and readers. `epoch` names the log that they are in. */
export function decodeDetails(
  id: string,
  epoch: string,
  reply: unknown
): NotificationDetails | null {
  const values = new ReplyReader(reply)
  if (values.done) return null
  const stored = storedOf(id, values)
  const readers = { seen: values.number(), read: values.number(), archived: values.number() }
  const entries: { channel: ReturnType<typeof channelOf>; seq: number; epoch: string }[] = []
  while (!values.done) entries.push({ channel: values.channel(), seq: values.number(), epoch })
  return { ...stored, entries, readers }
}

function storedOf(id: string, values: ReplyReader): StoredNotification {
  const to = recipientsOf(values.text())
  const content = values.text()
  const createdAt = values.number()
  const expiresAt = momentOr(undefined, values.text())
  const stored = { id, to, content, createdAt, producer: values.text() }
  return expiresAt === undefined ? stored : { ...stored, expiresAt }
}

/** The recipients of a notification, which were checked when it was published. */
export const recipientsOf = (json: string): Recipients => JSON.parse(json)

/** A user's marks as a hash keeps them, `readAt archived`. */
export function marksOf(text: string): Marks {
  if (text === '') return UNTOUCHED
  const [readAt, archived] = text.split(' ')
  return { readAt: readAt === '-' ? null : Number(readAt), seen: true, archived: archived === '1' }
}

/** An entry as `push_entry` in `prelude-marks.lua` returns it. */
function inboxItemOf(values: ReplyReader): InboxItem {
  const channel = values.channel()
  const entry = entryOf({
    seq: values.number(),
    id: values.text(),
    content: values.text(),
    createdAt: values.text(),
    expiresAt: values.text(),
    times: values.text(),
    replaces: values.text()
  })
  return { channel, entry, marks: marksOf(values.text()) }
}

interface EntryText {
  readonly id: string | undefined
  readonly seq: number
  readonly content: string
  readonly createdAt: string | undefined
  readonly expiresAt: string | undefined
  readonly times?: string | undefined
  readonly replaces?: string | undefined
}

function entryOf({ id = '', seq, content, createdAt, expiresAt = '', ...text }: EntryText): Entry {
  const { times = '0', replaces = '' } = text
  return {
    id,
    seq,
    content,
    createdAt: Number(createdAt),
    expiresAt: momentOr(undefined, expiresAt),
    times: Number(times),
    replaces: replaces === '' ? undefined : replaces
  }
}

const notificationOf = (entry: Entry) => ({
  kind: 'notification' as const,
  op: entry.replaces === undefined ? ('created' as const) : ('updated' as const),
  entry
})

const STATE_OPS: readonly StateOp[] = ['read', 'unread', 'seen', 'archived', 'removed']

function stateOf(text: string, upTo: string, ids: string) {
  const op = STATE_OPS.find((known) => known === text)
  if (op === undefined) throw new UnexpectedReply('a state', text)
  return {
    kind: 'state' as const,
    op,
    ids: ids === '*' ? null : ids.split(' '),
    upTo: upTo === '-' ? null : Number(upTo)
  }
}

/** Fences as the scripts keep them: `tail top;tail top;…`. */
export function decodeFences(text: string): Fence[] {
  return [...text.matchAll(/(\d+) (\d+);/g)].map(([, tail, top]) => ({
    tail: Number(tail),
    top: Number(top)
  }))
}
