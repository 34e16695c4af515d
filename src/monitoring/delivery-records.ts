import { BoundedCache, detachedTexts, textBytes, textsBytes } from '../bounds/bounded-cache.ts'
import { REMEMBERED_NAMES } from '../bounds/limits.ts'
import type { ConnectionRecord, DeliveryRecord } from '../cluster/node-query.ts'
import type { ObservedConnection } from '../delivery/observer.ts'
import type { FollowedEvent } from '../log/event.ts'
import type { Publication, Recipients } from '../log/notification.ts'

/** A name in 32 bits (FNV-1a): enough to tell whether one of some hundred names was it. */
function hashOf(name: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/** All of a few names; of many the first ones, and hashes of all. */
function remembered(names: readonly string[]): {
  readonly names: readonly string[]
  readonly hashes?: readonly number[]
} {
  if (names.length <= REMEMBERED_NAMES) return { names }
  return { names: detachedTexts(names.slice(0, REMEMBERED_NAMES)), hashes: names.map(hashOf) }
}

/** The topics of a connection as they are remembered, and sent to other nodes. */
export function rememberedTopics(
  topics: readonly string[]
): Pick<ConnectionRecord, 'topics' | 'hashes'> {
  const { names, hashes } = remembered(topics)
  return { topics: names, ...(hashes === undefined ? {} : { hashes }) }
}

/** Describes a connection that is open, or with `end` one that has closed. */
export function connectionRecord(
  connection: ObservedConnection,
  end: Pick<ConnectionRecord, 'closedAt' | 'reason'> = { closedAt: null, reason: null }
): ConnectionRecord {
  return {
    connection: connection.id,
    user: connection.user,
    ...rememberedTopics(connection.topics),
    openedAt: Date.now() - (performance.now() - connection.openedAt),
    ...end,
    seq: connection.seq
  }
}

/** Whether the connection reads the topic. */
export const readsTopic = ({ topics, hashes }: ConnectionRecord, topic: string): boolean =>
  topics.includes(topic) || hashes?.includes(hashOf(topic)) === true

/** The recipients of a notification to show in the report for this user. */
export const recipientsFor = (
  { to, hashes }: Pick<DeliveryRecord, 'to' | 'hashes'>,
  user: string
): Recipients | null => (hashes?.includes(hashOf(user)) ? { user } : to)

const usersOf = (to: Recipients | null): readonly string[] =>
  to === null || !('users' in to) ? [] : to.users
const hashesBytes = (hashes: readonly number[] | undefined): number =>
  hashes === undefined ? 0 : 16 + 8 * hashes.length

const newRecord = (acceptedAt: number): DeliveryRecord => ({
  to: null,
  hashes: undefined,
  producer: null,
  acceptedAt,
  durableAfterMs: null,
  ephemeral: false,
  expiresAt: null,
  connections: 0,
  firstWrittenAt: null,
  lastWrittenAt: null,
  recalledAt: null,
  replacedBy: null
})

/** What this process remembers of its latest notifications and closed connections. Bounded. */
export class DeliveryRecords {
  readonly #deliveries = new BoundedCache<DeliveryRecord>('deliveryRecords', {
    keep: 'newest',
    sizeOf: ({ to, hashes }) => 600 + textsBytes(usersOf(to)) + hashesBytes(hashes)
  })
  readonly #closed = new BoundedCache<ConnectionRecord>('connectionRecords', {
    keep: 'newest',
    sizeOf: ({ user, topics, hashes }) =>
      300 + textBytes(user) + textsBytes(topics) + hashesBytes(hashes)
  })

  /** This process accepted it, and it is durable. */
  accepted(publication: Publication, durableAfterMs: number): void {
    const { id, to, producer, createdAt, ephemeral, expiresAt } = publication
    const record = this.#deliveries.get(id) ?? newRecord(createdAt)
    if ('users' in to) {
      const { names, hashes } = remembered(to.users)
      record.to = { users: names }
      record.hashes = hashes
    } else record.to = to
    record.producer = producer
    record.ephemeral = ephemeral
    record.expiresAt = expiresAt ?? null
    record.durableAfterMs = durableAfterMs
    // Its size has changed.
    this.#deliveries.set(id, record)
  }

  /** An event was followed, and written to so many connections at `now`. */
  followed(event: FollowedEvent, connections: number, now: number): void {
    if (event.kind === 'state') {
      if (event.op === 'removed')
        for (const id of event.ids ?? []) this.#change(id, { recalledAt: now })
    } else if (event.kind === 'notification' || event.kind === 'ephemeral') {
      const { id, createdAt, replaces } = event.entry
      let record = this.#deliveries.get(id)
      if (!record) {
        record = newRecord(createdAt)
        this.#deliveries.set(id, record)
      }
      if (connections > 0) {
        record.connections += connections
        record.firstWrittenAt ??= now
        record.lastWrittenAt = now
      }
      if (replaces !== undefined) this.#change(replaces, { replacedBy: id })
    }
  }

  closed(connection: ConnectionRecord): void {
    this.#closed.set(connection.connection, connection)
  }

  /** Undefined: this process does not remember it. */
  delivery(id: string): DeliveryRecord | undefined {
    return this.#deliveries.get(id)
  }

  /** Closed connections of a user, oldest first. */
  closedOf(user: string): ConnectionRecord[] {
    return [...this.#closed.values()].filter((connection) => connection.user === user)
  }

  #change(id: string, change: Partial<DeliveryRecord>): void {
    const record = this.#deliveries.get(id)
    if (record) Object.assign(record, change)
  }
}
