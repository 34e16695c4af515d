import { BoundedCache, detachedTexts, textBytes, textsBytes } from '../bounds/bounded-cache.ts'
import { REMEMBERED_NAMES } from '../bounds/limits.ts'
import type { CloseReason } from '../delivery/close-reason.ts'
import type { ObservedConnection } from '../delivery/observer.ts'
import { type Channel, channelsOf, topicOf } from '../log/channel.ts'
import type { FollowedEvent } from '../log/event.ts'
import type { Publication, Recipients } from '../log/notification.ts'

/** What this process saw of one notification; instants are milliseconds since 1970. No content. */
export class Sighting {
  /** At most {@link REMEMBERED_NAMES} names; if there were more, `hashes` knows all. */
  to: Recipients | null = null
  hashes?: readonly number[] | undefined
  producer: string | null = null
  readonly acceptedAt: number
  /** From the end of the request to the commit; null where another process took it. */
  durableAfterMs: number | null = null
  ephemeral = false
  expiresAt: number | null = null
  /** Live connections that it was handed to, and when. */
  connections = 0
  firstWrittenAt: number | null = null
  lastWrittenAt: number | null = null
  recalledAt: number | null = null
  replacedBy: string | null = null

  constructor(acceptedAt: number) {
    this.acceptedAt = acceptedAt
  }
}

/** One connection as far as a trace needs it: who read what, from when to when, and how far. */
export interface Reading {
  readonly connection: string
  readonly user: string
  /** At most {@link REMEMBERED_NAMES} names; if there were more, `hashes` knows all. */
  readonly topics: readonly string[]
  readonly hashes?: readonly number[] | undefined
  readonly openedAt: number
  readonly closedAt: number | null
  readonly reason: CloseReason | null
  /** The place in the log that it was told everything up to; -1 before the first frame. */
  readonly place: number
}

/** A name in 32 bits (FNV-1a): enough to tell whether one of some hundred names was it. */
function hashOf(name: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/** Names as they are remembered: all of a few, and of many the first ones and what tells whether another was among them. */
function remembered(names: readonly string[]): {
  readonly names: readonly string[]
  readonly hashes?: readonly number[]
} {
  if (names.length <= REMEMBERED_NAMES) return { names }
  return { names: detachedTexts(names.slice(0, REMEMBERED_NAMES)), hashes: names.map(hashOf) }
}

/** What a connection read, as it is remembered when it has ended, and as another node hears of it. */
export function rememberedTopics(topics: readonly string[]): Pick<Reading, 'topics' | 'hashes'> {
  const { names, hashes } = remembered(topics)
  return { topics: names, ...(hashes === undefined ? {} : { hashes }) }
}

/** A connection as it is remembered: one that is open, or one that has ended. */
export function readingOf(
  connection: ObservedConnection,
  { closedAt, reason }: Pick<Reading, 'closedAt' | 'reason'> = { closedAt: null, reason: null }
): Reading {
  return {
    connection: connection.id,
    user: connection.user,
    ...rememberedTopics(connection.topics),
    openedAt: Date.now() - (performance.now() - connection.openedAt),
    closedAt,
    reason,
    place: connection.seq
  }
}

const hashesBytes = (hashes: readonly number[] | undefined): number =>
  hashes === undefined ? 0 : 16 + 8 * hashes.length

/** Whom a notification was for as far as this user is concerned. */
export function recipientsFor(
  { to, hashes }: Pick<Sighting, 'to' | 'hashes'>,
  user: string
): Recipients | null {
  return hashes?.includes(hashOf(user)) ? { user } : to
}

const namesOf = (to: Recipients | null): readonly string[] =>
  to === null || !('users' in to) ? [] : to.users

/** What one process remembers of the notifications and connections it lately had; bounded, and gone with the process. */
export class Traces {
  readonly #sightings = new BoundedCache<Sighting>('sightings', {
    keep: 'newest',
    sizeOf: ({ to, hashes }) => 600 + textsBytes(namesOf(to)) + hashesBytes(hashes)
  })
  readonly #departures = new BoundedCache<Reading>('departures', {
    keep: 'newest',
    sizeOf: ({ user, topics, hashes }) =>
      300 + textBytes(user) + textsBytes(topics) + hashesBytes(hashes)
  })

  /** It was taken here, and is durable. */
  accepted(
    { id, to, producer, createdAt, ephemeral, expiresAt }: Publication,
    durableAfterMs: number
  ): void {
    const seen = this.#sightings.get(id) ?? new Sighting(createdAt)
    if ('users' in to) {
      const { names, hashes } = remembered(to.users)
      seen.to = { users: names }
      seen.hashes = hashes
    } else seen.to = to
    seen.producer = producer
    seen.ephemeral = ephemeral
    seen.expiresAt = expiresAt ?? null
    seen.durableAfterMs = durableAfterMs
    this.#sightings.set(id, seen)
  }

  /** It was followed, and handed to so many connections. */
  followed(event: FollowedEvent, connections: number, now: number): void {
    if (event.kind === 'state') {
      if (event.op === 'removed')
        for (const id of event.ids ?? []) this.#change(id, { recalledAt: now })
    } else if (event.kind === 'notification' || event.kind === 'ephemeral') {
      const { id, createdAt, replaces } = event.entry
      let seen = this.#sightings.get(id)
      if (!seen) {
        seen = new Sighting(createdAt)
        this.#sightings.set(id, seen)
      }
      if (connections > 0) {
        seen.connections += connections
        seen.firstWrittenAt ??= now
        seen.lastWrittenAt = now
      }
      if (replaces !== undefined) this.#change(replaces, { replacedBy: id })
    }
  }

  departed(reading: Reading): void {
    this.#departures.set(reading.connection, reading)
  }

  sighting(id: string): Sighting | undefined {
    return this.#sightings.get(id)
  }

  /** Connections of a user that have ended, oldest first. */
  departures(user: string): Reading[] {
    return [...this.#departures.values()].filter((reading) => reading.user === user)
  }

  #change(id: string, change: { recalledAt: number } | { replacedBy: string }): void {
    const seen = this.#sightings.get(id)
    if (seen) Object.assign(seen, change)
  }
}

/** What several processes saw of one notification, as one sighting; undefined where none saw it. */
export function mergeSightings(sightings: readonly Sighting[]): Sighting | undefined {
  const [first] = sightings
  if (!first) return undefined
  // The one that took it knows most: who sent it to whom, and how long that lasted.
  const known = sightings.find(({ to }) => to !== null) ?? first
  const instants = (of: (one: Sighting) => number | null): number[] =>
    sightings.flatMap((one) => of(one) ?? [])
  const earliest = (of: (one: Sighting) => number | null): number | null =>
    instants(of).reduce<number | null>((least, at) => Math.min(least ?? at, at), null)
  return {
    ...known,
    connections: sightings.reduce((sum, { connections }) => sum + connections, 0),
    firstWrittenAt: earliest((one) => one.firstWrittenAt),
    lastWrittenAt: instants((one) => one.lastWrittenAt).reduce<number | null>(
      (most, at) => Math.max(most ?? at, at),
      null
    ),
    recalledAt: earliest((one) => one.recalledAt),
    replacedBy: sightings.find(({ replacedBy }) => replacedBy !== null)?.replacedBy ?? null
  }
}

/** Why one user did or did not get a notification. */
export type Verdict =
  | 'not_addressed'
  | 'recalled'
  | 'replaced'
  | 'expired'
  | 'beyond_retention'
  | 'written'
  | 'behind'
  | 'topic_not_read'
  | 'not_connected'

/** What became of a notification as a whole. */
export type Fate = 'stored' | 'ephemeral' | 'recalled' | 'replaced' | 'expired' | 'beyond_retention'

/** The channel that brings the notification to the user, or undefined where none does. */
export function channelFor(to: Recipients, user: string): Channel | undefined {
  return channelsOf(to).find(
    (channel) => !channel.startsWith('user:') || channel === `user:${user}`
  )
}

const readsTopic = ({ topics, hashes }: Reading, topic: string): boolean =>
  topics.includes(topic) || hashes?.includes(hashOf(topic)) === true

/** Judges for one user. `place` is where the notification lies in that user's channel, undefined where it lies nowhere. */
export function judge(
  user: string,
  to: Recipients,
  fate: Fate,
  place: number | undefined,
  writtenAt: number | null,
  readings: readonly Reading[]
): { readonly verdict: Verdict; readonly readings: readonly Reading[] } {
  const channel = channelFor(to, user)
  if (channel === undefined) return { verdict: 'not_addressed', readings: [] }
  const topic = topicOf(channel)
  const fitting =
    topic === undefined ? readings : readings.filter((reading) => readsTopic(reading, topic))
  const thereThen = ({ openedAt, closedAt }: Reading): boolean =>
    writtenAt !== null &&
    openedAt <= writtenAt &&
    (closedAt ?? Number.POSITIVE_INFINITY) >= writtenAt
  const passed = fitting.filter((reading) =>
    place === undefined ? thereThen(reading) : reading.place >= place
  )
  if (fate !== 'stored' && fate !== 'ephemeral') return { verdict: fate, readings: passed }
  if (passed.length > 0) return { verdict: 'written', readings: passed }
  // What is not stored waits for nobody: only who was there then could have had it.
  const open = readings.filter((reading) =>
    place === undefined ? thereThen(reading) : reading.closedAt === null
  )
  const reading = open.filter((one) => fitting.includes(one))
  if (reading.length > 0) return { verdict: 'behind', readings: reading }
  return { verdict: open.length > 0 ? 'topic_not_read' : 'not_connected', readings: open }
}
