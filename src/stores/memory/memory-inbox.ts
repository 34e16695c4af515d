import { type Channel, isPersonal, userChannel } from '../../log/channel.ts'
import { type LoggedEvent, opOf } from '../../log/event.ts'
import type { Counts } from '../../log/notification.ts'
import type { InboxItem, InboxQuery, MarkTarget } from '../../log/store.ts'
import type { MemoryLog, Note, StoredEntry } from './memory-log.ts'

/** One page of an inbox, newest first, and whether there are more items. */
export function pageOfInbox(
  log: MemoryLog,
  user: string,
  scope: readonly Channel[],
  { status, limit, before = Number.POSITIVE_INFINITY }: InboxQuery,
  now: number
): { readonly items: InboxItem[]; readonly more: boolean } {
  const listed = itemsOf(log, user, scope, now)
    .filter(({ entry }) => entry.seq < before)
    .filter(({ marks }) =>
      status === 'archived'
        ? marks.archived
        : !marks.archived && (status === 'all' || marks.readAt === null)
    )
    .sort((a, b) => b.entry.seq - a.entry.seq)
  return { items: listed.slice(0, limit), more: listed.length > limit }
}

/** The notification whose live entry in a channel has a collapse key. */
export function noteWithKey(
  log: MemoryLog,
  channel: Channel,
  key: string,
  now: number
): Note | undefined {
  for (const { note } of log.live(channel, now)) if (note.publication.key === key) return note
  return undefined
}

/** A user's unread and unseen entries. */
export function countInbox(
  log: MemoryLog,
  user: string,
  scope: readonly Channel[],
  now: number
): Counts {
  let unread = 0
  let unseen = 0
  for (const { marks } of itemsOf(log, user, scope, now)) {
    if (marks.readAt !== null || marks.archived) continue
    unread += 1
    if (!marks.seen) unseen += 1
  }
  return { unread, unseen }
}

/** The events of a scope after a seq, in order. */
export function eventsAfter(
  log: MemoryLog,
  user: string,
  scope: readonly Channel[],
  after: number,
  now: number
): LoggedEvent[] {
  const events = scope.flatMap((channel) => [...log.statesAfter(channel, after)])
  for (const { channel, entry, marks } of itemsOf(log, user, scope, now)) {
    const { seq } = entry
    if (seq > after)
      events.push({ kind: 'notification', op: opOf(entry), channel, seq, entry, marks })
  }
  return events.sort((a, b) => a.seq - b.seq)
}

/** The entries that a mark is for. */
export function entriesToMark(
  log: MemoryLog,
  user: string,
  target: MarkTarget,
  now: number
): StoredEntry[] {
  if ('upTo' in target)
    return target.scope.flatMap((channel) =>
      [...log.live(channel, now)].filter(({ entry }) => entry.seq <= target.upTo)
    )
  const mayMark = (channel: Channel): boolean =>
    channel === userChannel(user) || (!isPersonal(channel) && target.allows(channel))
  return [...new Set(target.ids)].flatMap((id) => {
    const note = log.note(id, now)
    const channel = note && [...note.seqs.keys()].find(mayMark)
    return (channel && log.entryOf(note, channel)) ?? []
  })
}

const itemsOf = (
  log: MemoryLog,
  user: string,
  scope: readonly Channel[],
  now: number
): InboxItem[] =>
  scope.flatMap((channel) =>
    [...log.live(channel, now)].map(({ entry }) => ({
      channel,
      entry,
      marks: log.marks.get(user, entry.seq)
    }))
  )
