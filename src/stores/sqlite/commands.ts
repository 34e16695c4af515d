import type { Publication, Recipients } from '../../log/notification.ts'

/**
 * What the main thread and the writer say to each other: flat arrays, because cloning many small objects costs more than the
 * database does. A command is its number followed by its arguments.
 */
export const COMMAND = {
  publish: 0,
  recall: 1,
  mark: 2,
  erase: 3,
  putTicket: 4,
  takeTicket: 5,
  revoke: 6
} as const

/** How many values follow each command's number; a publication's items follow their count. */
export const ARGUMENTS = [1, 1, 6, 1, 4, 1, 1] as const
/** Values of one publication: id, recipients, content, key, createdAt, expiresAt, ephemeral, idempotency key, fingerprint, producer. */
export const ITEM_VALUES = 10

/** Where a mark that is too long for one transaction goes on: which of its channels, after which place, and how many changed before. */
export type MarkProgress = readonly [channel: number, after: number, affected: number]

/** First value of one publication's result. */
export const ITEM = {
  accepted: 0,
  collapsed: 1,
  ephemeral: 2,
  replayed: 3,
  reused: 4,
  expired: 5
} as const

/** First value of a command's result; the failures are followed by a message. */
export const RESULT = { done: 0, full: 1, unavailable: 2, broken: 3 } as const

/** What the writer is at, in memory that both threads see: a transaction, none, or none ever again because the process ends. */
export const TURN = { idle: 0, busy: 1, over: 2 } as const

/** To the writer: commands to run in one transaction, or the end. */
export type WriterRequest = readonly unknown[] | 'close'

/** From the writer. `answers` is true where `results` are those of the commands in flight, in order. */
export interface WriterReport {
  readonly answers: boolean
  readonly results: readonly unknown[]
  readonly head: number
  readonly floor: number
  /** Milliseconds of the commit; 0 where nothing was committed. */
  readonly commitMs: number
  /** Channels whose entries expired or were pruned, before the commands ran. */
  readonly dropped: readonly string[] | null
  /** Why the last transaction failed. */
  readonly trouble: string | null
}

/** The command that appends publications; see {@link ITEM_VALUES}. */
export function encodePublish(items: readonly Publication[]): readonly unknown[] {
  const request: unknown[] = [COMMAND.publish, items.length]
  for (const {
    id,
    to,
    content,
    key,
    createdAt,
    expiresAt,
    ephemeral,
    idempotency,
    producer
  } of items) {
    request.push(
      id,
      encodeRecipients(to),
      content,
      key ?? null,
      createdAt,
      expiresAt ?? null,
      ephemeral ? 1 : 0
    )
    request.push(idempotency?.key ?? null, idempotency?.fingerprint ?? null, producer)
  }
  return request
}

/** Recipients as one string: a channel's name, or `users:` and names by line (no name holds a line end). */
export function encodeRecipients(to: Recipients): string {
  if ('user' in to) return `user:${to.user}`
  if ('users' in to) return `users:${to.users.join('\n')}`
  return 'topic' in to ? `topic:${to.topic}` : 'everyone'
}

/** The inverse of {@link encodeRecipients}. */
export function decodeRecipients(text: string): Recipients {
  if (text.startsWith('user:')) return { user: text.slice(5) }
  if (text.startsWith('users:')) return { users: text.slice(6).split('\n') }
  return text === 'everyone' ? { everyone: true } : { topic: text.slice(6) }
}
