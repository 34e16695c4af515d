import { detachedTexts } from '../bounds/bounded-cache.ts'
import { type Channel, EVERYONE, isPersonal, topicOf, userOf } from '../log/channel.ts'
import { formatCursor } from '../log/cursor.ts'
import type { FollowedEvent } from '../log/event.ts'
import type { Log } from '../log/store.ts'
import type { ClientState } from './client-state.ts'
import type { Codec } from './codec.ts'
import { EncodedEvent, type Sendable } from './encoded-event.ts'
import type { Observer } from './observer.ts'

/** Frames that a whole audience shares, as one write. */
export interface SharedFrames {
  readonly events: readonly EncodedEvent[]
  readonly bytes: Buffer
  readonly firstSeq: number
  readonly lastSeq: number
  /** How many of them add one to the counts of everyone who receives them. */
  readonly created: number
  /** True if they may change counts in a way that only the store knows. */
  readonly changesCounts: boolean
}

/** A connection or poll, as the fan-out sees it. */
export interface Listener {
  readonly user: string
  readonly topics: readonly string[]
  readonly codec: Codec
  deliver(events: readonly EncodedEvent[]): void
  deliverShared(shared: SharedFrames): void
  invalidateCounts(): void
}

/** The listeners of each user, whatever their topics. */
export interface ListenersByUser {
  of(user: string): readonly Listener[]
}

/** Listeners with the same shared channels and codec, which therefore share frames. */
export interface Audience {
  /** Sorted; one array, shared by all its listeners. */
  readonly topics: readonly string[]
  readonly codec: Codec
  readonly listeners: Set<Listener>
}

/**
 * Hands the events of one log, in order, to the listeners that are allowed to receive them. All
 * listeners of a user belong to one log.
 */
export class FanOut {
  readonly log: Log
  readonly #byUser: ListenersByUser
  readonly #observer: Observer
  #position: number
  /** By topics and codec; bounded by the number of open connections, as is `#byTopic`. */
  readonly #audiences = new Map<string, Audience>()
  /**
   * The audiences of each topic. Nearly always there is one, stored without a set: one set for each
   * topic needs far more memory.
   */
  readonly #byTopic = new Map<string, Audience | Set<Audience>>()
  readonly #codecs: Codec[] = []
  /** The newest heartbeat of each codec. */
  readonly #heartbeats = new Map<Codec, { position: number; epoch: string; frame: Buffer }>()

  constructor(log: Log, byUser: ListenersByUser, observer: Observer) {
    this.log = log
    this.#byUser = byUser
    this.#observer = observer
    this.#position = log.head
  }

  /** Everything up to this seq has been handed to listeners. */
  get position(): number {
    return this.#position
  }

  /** The number of audiences, and of topics with at least one audience. */
  get sizes(): { readonly audiences: number; readonly topics: number } {
    return { audiences: this.#audiences.size, topics: this.#byTopic.size }
  }

  /**
   * The audience of these topics, created if it does not exist. Each of its listeners must
   * {@link leave}.
   */
  audience(topics: readonly string[], codec: Codec): Audience {
    const sorted = [...new Set(topics)].sort()
    const key = this.#key(sorted, codec)
    const known = this.#audiences.get(key)
    if (known) return known
    const names = Object.freeze(detachedTexts(sorted))
    const audience: Audience = { topics: names, codec, listeners: new Set() }
    this.#audiences.set(key, audience)
    for (const topic of names) {
      const readers = this.#byTopic.get(topic)
      if (readers === undefined) this.#byTopic.set(topic, audience)
      else if (readers instanceof Set) readers.add(audience)
      else this.#byTopic.set(topic, new Set([readers, audience]))
    }
    return audience
  }

  leave(listener: Listener): void {
    const key = this.#key(listener.topics, listener.codec)
    const audience = this.#audiences.get(key)
    audience?.listeners.delete(listener)
    if (audience?.listeners.size !== 0) return
    this.#audiences.delete(key)
    for (const topic of audience.topics) {
      const readers = this.#byTopic.get(topic)
      if (readers instanceof Set) readers.delete(audience)
      if (!(readers instanceof Set) || readers.size === 0) this.#byTopic.delete(topic)
    }
  }

  /** The log continues at `head`, which may be lower than {@link position}. */
  restart(head: number): void {
    this.#position = head
  }

  /** Hands over events that became durable together, in one write to each listener. */
  follow(events: readonly FollowedEvent[]): void {
    const sent: EncodedEvent[] = []
    const unsent: Sendable[] = []
    const dropped = new Set<Channel>()
    for (const event of events) {
      if (event.kind === 'restarted' || event.kind === 'revoked') continue
      if (event.kind === 'dropped') {
        dropped.add(event.channel)
        continue
      }
      if (event.kind !== 'ephemeral') this.#position = event.seq
      const user = userOf(event.channel)
      if (user !== undefined && this.#byUser.of(user).length === 0) unsent.push(event)
      else sent.push(new EncodedEvent(event, this.log.epoch))
    }
    // Some seqs have no event: the one after each shared-channel event, and those used when entries
    // are removed without an event.
    this.#position = Math.max(this.#position, this.log.head)
    for (const channel of dropped) this.#invalidateCounts(channel)
    this.#deliver(sent)
    this.#observer.followed(sent, unsent)
  }

  /** The next heartbeat of a client. It advances the client's cursor to {@link position}. */
  nextHeartbeat(codec: Codec, client: ClientState): Buffer {
    // The client is owed counts, so its cursor must not advance: resuming from a later cursor, it
    // would never receive them.
    if (!client.countsKnown) return codec.frame('heartbeat', '{}', client.sentCursor)
    // A page was ahead of the live events: a heartbeat never moves the cursor back.
    if (client.seq > this.#position) {
      client.cursorWasSent()
      return codec.frame('heartbeat', '{}', client.cursor)
    }
    client.sentUpTo(this.#position)
    return this.#heartbeatFrame(codec)
  }

  #heartbeatFrame(codec: Codec): Buffer {
    const position = this.#position
    const { epoch } = this.log
    const known = this.#heartbeats.get(codec)
    if (known && known.position === position && known.epoch === epoch) return known.frame
    const frame = codec.frame('heartbeat', '{}', formatCursor(epoch, position))
    this.#heartbeats.set(codec, { position, epoch, frame })
    return frame
  }

  #deliver(events: readonly EncodedEvent[]): void {
    const shared: EncodedEvent[] = []
    const personal = new Map<string, EncodedEvent[]>()
    for (const event of events) {
      const user = userOf(event.event.channel)
      if (user === undefined) shared.push(event)
      else append(personal, user, event)
    }
    const withPersonal = shared.length > 0 ? this.#deliverShared(shared, personal) : NO_LISTENERS
    for (const [user, own] of personal) {
      // A copy: a listener that its write closes is removed from the array.
      for (const listener of [...this.#byUser.of(user)]) {
        for (const event of own) event.handedTo(1)
        listener.deliver(
          withPersonal.has(listener) ? events.filter((event) => reads(listener, event)) : own
        )
      }
    }
  }

  /**
   * Returns the listeners that also have personal events. They get nothing here: the caller sends
   * them both kinds in one write, in order.
   */
  #deliverShared(
    shared: readonly EncodedEvent[],
    personal: ReadonlyMap<string, unknown>
  ): ReadonlySet<Listener> {
    const withPersonal = new Set<Listener>()
    const byAudience = new Map<Audience, EncodedEvent[]>()
    for (const event of shared)
      for (const audience of this.#audiencesOf(event.event.channel))
        append(byAudience, audience, event)
    for (const [{ codec, listeners }, events] of byAudience) {
      const frames = sharedFrames(events, codec)
      for (const event of events) event.handedTo(listeners.size)
      for (const listener of listeners) {
        if (personal.size > 0 && personal.has(listener.user)) withPersonal.add(listener)
        else if (frames) listener.deliverShared(frames)
        else listener.deliver(events)
      }
    }
    return withPersonal
  }

  /** Counts over a channel may have changed without an event. */
  #invalidateCounts(channel: Channel): void {
    const user = userOf(channel)
    if (user !== undefined)
      for (const listener of this.#byUser.of(user)) listener.invalidateCounts()
    else
      for (const { listeners } of this.#audiencesOf(channel))
        for (const listener of listeners) listener.invalidateCounts()
  }

  /** The audiences of a shared channel. */
  #audiencesOf(channel: Channel): Iterable<Audience> {
    if (channel === EVERYONE) return this.#audiences.values()
    const readers = this.#byTopic.get(topicOf(channel) ?? '')
    return readers instanceof Set ? readers : readers === undefined ? [] : [readers]
  }

  #key(topics: readonly string[], codec: Codec): string {
    let number = this.#codecs.indexOf(codec)
    if (number < 0) number = this.#codecs.push(codec) - 1
    return `${number} ${topics.join(' ')}`
  }
}

const NO_LISTENERS: ReadonlySet<Listener> = new Set()

function append<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key)
  if (list) list.push(value)
  else lists.set(key, [value])
}

/** True if the listener reads the channel of the event. */
function reads({ user, topics }: Listener, { event: { channel } }: EncodedEvent): boolean {
  if (channel === EVERYONE) return true
  if (isPersonal(channel)) return userOf(channel) === user
  return topics.includes(topicOf(channel) ?? '')
}

/** Null if any event is ephemeral: its frame repeats each listener's own cursor. */
function sharedFrames(events: readonly EncodedEvent[], codec: Codec): SharedFrames | null {
  let created = 0
  let firstSeq: number | undefined
  let lastSeq = 0
  for (const event of events) {
    if (event.seq === undefined) return null
    firstSeq ??= event.seq
    lastSeq = event.seq
    if (event.created) created++
  }
  if (firstSeq === undefined) return null
  const bytes = codec.join(events.map((event) => event.frame(codec)))
  const changesCounts = created < events.length
  return { events, bytes, firstSeq, lastSeq, created, changesCounts }
}
