import { type Channel, channelsOf, topicOf } from './channel.ts'
import type { CloseReason } from './close-reason.ts'
import type { FollowedEvent } from './event.ts'
import { REMEMBERED_DEPARTURES, REMEMBERED_TRACES } from './limits.ts'
import type { Publication, Recipients } from './notification.ts'

/** What this process saw of one notification; instants are milliseconds since 1970. No content. */
export interface Sighting {
  readonly to: Recipients | null
  readonly producer: string | null
  readonly acceptedAt: number
  /** From the end of the request to the commit; null where another process took it. */
  readonly durableAfterMs: number | null
  readonly ephemeral: boolean
  readonly expiresAt: number | null
  /** Live connections that it was handed to, and when. */
  connections: number
  firstWrittenAt: number | null
  lastWrittenAt: number | null
  recalledAt: number | null
  replacedBy: string | null
}

/** One connection as far as a trace needs it: who read what, from when to when, and how far. */
export interface Reading {
  readonly connection: string
  readonly user: string
  readonly topics: readonly string[]
  readonly openedAt: number
  readonly closedAt: number | null
  readonly reason: CloseReason | null
  /** The place in the log that it was told everything up to; -1 before the first frame. */
  readonly place: number
}

/** The newest of a kind; the oldest are forgotten. */
class Newest<V> {
  readonly #map = new Map<string, V>()
  readonly #most: number

  constructor(most: number) {
    this.#most = most
  }

  get(key: string): V | undefined {
    return this.#map.get(key)
  }

  set(key: string, value: V): V {
    this.#map.set(key, value)
    if (this.#map.size > this.#most) this.#map.delete(this.#map.keys().next().value!)
    return value
  }

  values(): IterableIterator<V> {
    return this.#map.values()
  }
}

/** What one process remembers of the notifications and connections it lately had; bounded, and gone with the process. */
export class Traces {
  readonly #sightings = new Newest<Sighting>(REMEMBERED_TRACES)
  readonly #departures = new Newest<Reading>(REMEMBERED_DEPARTURES)

  /** It was taken here, and is durable. */
  accepted({ id, to, producer, createdAt, ephemeral, expiresAt }: Publication, durableAfterMs: number): void {
    const known = this.#sightings.get(id)
    const seen = known ?? unseen(createdAt)
    this.#sightings.set(id, { ...seen, to, producer, ephemeral, expiresAt: expiresAt ?? null, durableAfterMs })
  }

  /** It was followed, and handed to so many connections. */
  followed(event: FollowedEvent, connections: number, now: number): void {
    if (event.kind === 'state') {
      if (event.op === 'removed') for (const id of event.ids ?? []) this.#change(id, { recalledAt: now })
    } else if (event.kind === 'notification' || event.kind === 'ephemeral') {
      const { id, createdAt, replaces } = event.entry
      const seen = this.#sightings.get(id) ?? this.#sightings.set(id, unseen(createdAt))
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

const unseen = (acceptedAt: number): Sighting => ({
  to: null,
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
  return channelsOf(to).find((channel) => !channel.startsWith('user:') || channel === `user:${user}`)
}

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
  const fitting = topic === undefined ? readings : readings.filter(({ topics }) => topics.includes(topic))
  const thereThen = ({ openedAt, closedAt }: Reading): boolean =>
    writtenAt !== null && openedAt <= writtenAt && (closedAt ?? Number.POSITIVE_INFINITY) >= writtenAt
  const passed = fitting.filter((reading) => (place === undefined ? thereThen(reading) : reading.place >= place))
  if (fate !== 'stored' && fate !== 'ephemeral') return { verdict: fate, readings: passed }
  if (passed.length > 0) return { verdict: 'written', readings: passed }
  // What is not stored waits for nobody: only who was there then could have had it.
  const open = readings.filter((reading) => (place === undefined ? thereThen(reading) : reading.closedAt === null))
  const reading = open.filter((one) => fitting.includes(one))
  if (reading.length > 0) return { verdict: 'behind', readings: reading }
  return { verdict: open.length > 0 ? 'topic_not_read' : 'not_connected', readings: open }
}
