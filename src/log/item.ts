import type { Channel } from './channel.ts'
import { topicOf } from './channel.ts'
import type { Cursor } from './cursor.ts'
import { iso } from './iso.ts'
import { type Entry, type Marks, UNTOUCHED } from './notification.ts'

/**
 * The `item` of the wire as JSON. The content was encoded when it was published; this adds what the
 * log and the subscriber's marks contribute. `cursor` is null for an ephemeral notification.
 */
export function encodeItem(
  entry: Omit<Entry, 'seq'>,
  channel: Channel,
  cursor: Cursor | null,
  marks: Marks = UNTOUCHED
): string {
  const topic = topicOf(channel)
  return `{"id":"${entry.id}","cursor":${cursor === null ? 'null' : `"${cursor}"`},${entry.content}${topic === undefined ? '' : `,"topic":"${topic}"`},"createdAt":"${iso(entry.createdAt)}"${
    entry.expiresAt === undefined ? '' : `,"expiresAt":"${iso(entry.expiresAt)}"`
  },"readAt":${marks.readAt === null ? 'null' : `"${iso(marks.readAt)}"`},"seen":${marks.seen},"times":${entry.times}${
    entry.replaces === undefined ? '' : `,"replaces":"${entry.replaces}"`
  }}`
}
