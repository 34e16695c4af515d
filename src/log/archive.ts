import { z } from 'zod'
import { type Channel, channelsOf, isPersonal, userChannel } from './channel.ts'
import { encodeContent, storedFields } from './content.ts'
import { iso } from './iso.ts'
import { TopicName, UserName } from './names.ts'
import type { Recipients } from './notification.ts'

/** Version of the file format; the first line of a file names it. */
export const ARCHIVE_VERSION = 1

/** One notification with its entries. Each channel has its own collapses. */
export interface ArchivedNote {
  readonly kind: 'notification'
  readonly id: string
  readonly to: Recipients
  /** JSON members without the braces, as in `Publication.content`. */
  readonly content: string
  /** The collapse key, also part of `content`. */
  readonly key?: string | undefined
  readonly createdAt: number
  readonly expiresAt?: number | undefined
  readonly producer: string
  /**
   * Its entries, in the order of `channelsOf(to)`, without those that are gone. `places` is the
   * word of the file format.
   */
  readonly places: readonly {
    readonly channel: Channel
    readonly times: number
    readonly replaces?: string | undefined
  }[]
}

/** A user's marks on a notification of an earlier line. They imply seen. */
export interface ArchivedMark {
  readonly kind: 'mark'
  readonly user: string
  readonly id: string
  readonly readAt: number | null
  readonly archived: boolean
}

/** An idempotency key that is still valid. */
export interface ArchivedKey {
  readonly kind: 'idempotency-key'
  readonly key: string
  readonly fingerprint: string
  readonly id: string
  readonly createdAt: number
  readonly expiresAt: number
}

/** When a user's credentials were last revoked. */
export interface ArchivedRevocation {
  readonly kind: 'revocation'
  readonly user: string
  readonly at: number
}

/**
 * Everything in a store except tickets (they live for 30 seconds) and state events (an import
 * begins a new log).
 */
export type ArchiveRecord = ArchivedNote | ArchivedMark | ArchivedKey | ArchivedRevocation

/** A store that is being exported. */
export interface ArchiveSource {
  /** What the operator should know about the export, in one sentence. */
  readonly notice?: string | undefined
  /**
   * Everything that has not expired: notifications in the order of the log, each before its marks.
   */
  records(): AsyncIterable<ArchiveRecord>
  close(): Promise<void>
}

/** An empty store that is being filled. */
export interface ArchiveTarget {
  /**
   * Loads records in order. Rejects with {@link ArchiveFault} for the first that is wrong, and
   * loads none after it.
   */
  load(records: readonly ArchiveRecord[]): Promise<void>
  /** Makes what was loaded durable, and visible to the service. */
  commit(): Promise<void>
  /** Releases the store. What was not committed is undone. */
  close(): Promise<void>
}

/** A record that cannot be loaded. `index`: its index within the call. */
export class ArchiveFault extends Error {
  readonly index: number
  constructor(index: number, message: string) {
    super(message)
    this.name = 'ArchiveFault'
    this.index = index
  }
}

/** The channel in which a user has a notification; undefined if it is not for that user. */
export function channelOfReader(to: Recipients, user: string): Channel | undefined {
  const own = userChannel(user)
  return channelsOf(to).find((channel) => channel === own || !isPersonal(channel))
}

const Instant = z.iso.datetime().transform((text) => Date.parse(text))
const Id = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'is not an id')
const To = z.union([
  z.strictObject({ user: UserName }),
  z.strictObject({ users: z.array(UserName).min(1) }),
  z.strictObject({ topic: TopicName }),
  z.strictObject({ everyone: z.literal(true) })
])
const Line = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('notification'),
    id: Id,
    to: To,
    content: z.strictObject(storedFields),
    createdAt: Instant,
    expiresAt: Instant.optional(),
    producer: z.string(),
    places: z
      .array(
        z.strictObject({ channel: z.string(), times: z.int().min(0), replaces: Id.optional() })
      )
      .min(1)
  }),
  z.strictObject({
    kind: z.literal('mark'),
    user: UserName,
    id: Id,
    readAt: Instant.nullable(),
    archived: z.boolean()
  }),
  z.strictObject({
    kind: z.literal('idempotency-key'),
    key: z.string().min(1).max(1000),
    fingerprint: z.string().regex(/^[A-Za-z0-9_-]{1,100}$/),
    id: Id,
    createdAt: Instant,
    expiresAt: Instant
  }),
  z.strictObject({ kind: z.literal('revocation'), user: UserName, at: Instant })
])

/** One record as a line of JSON, without the line end. */
export function encodeRecord(record: ArchiveRecord): string {
  switch (record.kind) {
    case 'notification': {
      const { kind, id, to, content, createdAt, expiresAt, producer, places } = record
      const expiry = expiresAt === undefined ? '' : `,"expiresAt":"${iso(expiresAt)}"`
      return `{"kind":"${kind}","id":"${id}","to":${JSON.stringify(to)},"content":{${content}},"createdAt":"${iso(createdAt)}"${expiry},"producer":${JSON.stringify(producer)},"places":${JSON.stringify(places)}}`
    }
    case 'mark':
      return JSON.stringify({
        ...record,
        readAt: record.readAt === null ? null : iso(record.readAt)
      })
    case 'idempotency-key':
      return JSON.stringify({
        ...record,
        createdAt: iso(record.createdAt),
        expiresAt: iso(record.expiresAt)
      })
    case 'revocation':
      return JSON.stringify({ ...record, at: iso(record.at) })
  }
}

/** Reads one line. Throws an error that says what is wrong with it. */
export function decodeRecord(line: string): ArchiveRecord {
  const parsed = Line.safeParse(parseJson(line))
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!
    throw new Error(path.length > 0 ? `${path.join('.')}: ${message}` : message)
  }
  const record = parsed.data
  if (record.kind !== 'notification') return record
  const { content, places, ...rest } = record
  const channels = channelsOf(record.to)
  let after = -1
  for (const { channel } of places) {
    const at = channels.indexOf(channel as Channel)
    if (at <= after)
      throw new Error(`places: ${channel} is not one of its recipients, or is in the wrong order`)
    after = at
  }
  return {
    ...rest,
    // The same text as when it was published.
    content: encodeContent(content),
    key: content.key,
    places: places as ArchivedNote['places']
  }
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    throw new Error('is not valid JSON')
  }
}
