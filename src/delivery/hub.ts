import { BoundedCache } from '../bounds/bounded-cache.ts'
import { REVOCATION_ECHO_MS } from '../bounds/limits.ts'
import { type Channel, userOf } from '../log/channel.ts'
import type { FollowedEvent } from '../log/event.ts'
import type { Log, Store } from '../log/store.ts'
import { exactTopics } from '../log/subscriber.ts'
import {
  Admission,
  type AdmissionHost,
  type ConnectionLimits,
  type Reservation
} from './admission.ts'
import type { CloseReason, Refusal } from './close-reason.ts'
import { Connection, type ConnectionHost, type Opening, type OpenRequest } from './connection.ts'
import { Connections } from './connections.ts'
import { Outgoing, type Sendable } from './encoded-event.ts'
import { Lane, readsChannel } from './fan-out.ts'
import { HeartbeatManager } from './heartbeat-manager.ts'
import type { Observer } from './observer.ts'
import type { Quota } from './quota.ts'

export interface HubSettings extends ConnectionLimits {
  readonly heartbeatMs: number
  readonly maxBufferedBytes: number
  readonly stallMs: number
  readonly maxConnectionAgeMs: number
}

/** How often deadlines are looked at. */
const DEADLINES_MS = 250

/** Decides who gets what: it opens connections, hands them what the store's logs bring, and closes them. */
export class Hub implements ConnectionHost, AdmissionHost {
  readonly store: Store
  readonly heartbeats: HeartbeatManager
  readonly node: string
  readonly observer: Observer
  /** Those that are open: one leaves in the call that closes it. */
  readonly connections: Connections
  readonly #settings: HubSettings
  readonly #admission: Admission
  readonly #lanes: ReadonlyMap<Log, Lane>
  /** Users revoked lately, and when we heard of it: a connection authenticated before that but opened after it must be closed. */
  readonly #revoked = new BoundedCache<number>('revocations', {
    keep: 'newest',
    ttlMs: REVOCATION_ECHO_MS,
    sizeOf: () => 16,
    onEvict: (at) => {
      this.#revokedUnknown = at
    }
  })
  /** Revocations up to here may have been forgotten for want of room. */
  #revokedUnknown = Number.NEGATIVE_INFINITY
  #lastNumber = 0
  #draining = false
  #deadlinesAt = 0

  constructor(store: Store, node: string, quota: Quota, settings: HubSettings, observer: Observer) {
    this.store = store
    this.node = node
    this.#settings = settings
    this.connections = new Connections(node)
    this.#admission = new Admission(this, quota, settings)
    this.observer = observer
    this.#lanes = new Map(store.logs.map((log) => [log, new Lane(log)]))
    this.heartbeats = new HeartbeatManager(settings.heartbeatMs, (now) => this.#checkDeadlines(now))
    this.heartbeats.start()
    store.follow((events, log) => this.#follow(events, this.#laneOf(log)))
  }

  get heartbeatMs(): number {
    return this.#settings.heartbeatMs
  }
  get maxBufferedBytes(): number {
    return this.#settings.maxBufferedBytes
  }
  get stallMs(): number {
    return this.#settings.stallMs
  }
  get draining(): boolean {
    return this.#draining
  }

  /** Why this node cannot open a connection of this user from this address now, or null. */
  refusal(user: string, address: string): Refusal | null {
    return this.#admission.refusal(user, address)
  }

  /** What prevents any connection of a user, whatever the limits say; null if nothing does. */
  trouble(user: string): Refusal | null {
    if (this.#draining) return 'drain'
    return this.store.logOf(user).healthy ? null : 'unavailable'
  }

  /**
   * Reserves a connection, or says why not. `enter` runs once it is reserved: what it uses up, such
   * as a ticket, is not used up by a refusal. If it rejects, so does this call, and the reservation
   * is released. `rated` counts it among the user's openings; default true. A request that has a
   * rate limit of its own does without.
   */
  admit(
    user: string,
    address: string,
    enter: () => Promise<void>,
    { rated = true }: { readonly rated?: boolean } = {}
  ): Promise<Refusal | Reservation> {
    return this.#admission.admit(user, address, enter, rated)
  }

  /** How many connections each user has here, reservations included. */
  held(): Iterable<readonly [user: string, count: number]> {
    return this.#admission.held()
  }

  /** The same of one user. */
  heldOf(user: string): number {
    return this.#admission.heldOf(user)
  }

  /** Registers a connection and starts it. Only {@link admit} asks about the limits. */
  open(request: OpenRequest): Connection {
    const { subscriber, sink } = request
    const now = performance.now()
    const { maxConnectionAgeMs } = this.#settings
    // Ages are spread by a tenth, so that what was opened together does not end together.
    const aged = now + maxConnectionAgeMs * (0.9 + Math.random() * 0.2)
    const expires =
      subscriber.expiresAt === undefined
        ? Number.POSITIVE_INFINITY
        : now + (subscriber.expiresAt - Date.now())
    const lane = this.#laneOf(this.store.logOf(subscriber.user))
    const group = lane.group(request.topics ?? exactTopics(subscriber), request.codec)
    const opening: Opening = {
      user: subscriber.user,
      topics: group.topics,
      sink,
      codec: request.codec,
      after: request.after,
      items: request.items ?? 25,
      announce: request.announce ?? true,
      once: request.once,
      closeAt: Math.min(aged, expires),
      closeReason: expires <= aged ? 'expired' : 'rotate'
    }
    const connection = new Connection(this, lane, ++this.#lastNumber, opening)
    this.connections.add(connection)
    this.#admission.opened(connection)
    connection.groupIndex = group.connections.push(connection) - 1
    if (connection.beats) this.heartbeats.add(connection)
    this.observer.opened(connection, this.connections.size, request.requestId)
    const checkedAt = subscriber.checkedAt ?? now
    const revoked = (this.#revoked.get(connection.user) ?? Number.NEGATIVE_INFINITY) >= checkedAt
    // In a moment: the caller has not connected the sink yet.
    if (revoked) queueMicrotask(() => connection.close('revoked'))
    // Nobody can tell any more: it comes back, and its credential is checked again.
    else if (this.#revokedUnknown >= checkedAt)
      queueMicrotask(() => connection.close('unavailable'))
    else void connection.begin(opening.after)
    return connection
  }

  /** Ends all connections of a user. */
  closeUser(user: string, reason: CloseReason): void {
    for (const connection of [...this.connections.of(user)]) connection.close(reason)
  }

  /** Lets nobody in any more and ends everybody, spread over the time given. */
  async drain(drainMs: number): Promise<void> {
    this.#draining = true
    const steps = Math.max(1, Math.min(50, Math.floor(drainMs / 20)))
    const total = this.connections.size
    for (let step = 1; step <= steps && this.connections.size > 0; step++) {
      const remain = Math.floor(total * (1 - step / steps))
      for (const connection of this.connections) {
        if (this.connections.size <= remain) break
        connection.close('drain')
      }
      await new Promise((resolve) => setTimeout(resolve, drainMs / steps))
    }
    for (const connection of this.connections) connection.close('drain')
  }

  stop(): void {
    this.#draining = true
    this.heartbeats.stop()
    this.closeAll('drain')
  }

  /** Ends all connections at once. */
  closeAll(reason: CloseReason): void {
    for (const connection of this.connections) connection.close(reason)
  }

  // What a connection tells its host.

  closed(connection: Connection, reason: CloseReason): void {
    this.heartbeats.remove(connection)
    this.connections.remove(connection)
    connection.lane.leave(connection)
    this.#admission.closed(connection)
    this.observer.closed(connection, reason)
  }

  // The fan-out.

  /** What became durable together goes out together: one write a connection. */
  #follow(events: readonly FollowedEvent[], lane: Lane): void {
    const shared: Outgoing[] = []
    const personal = new Map<string, Outgoing[]>()
    const all: Outgoing[] = []
    const unsent: Sendable[] = []
    const recount = new Set<Channel>()
    for (const event of events) {
      if (event.kind === 'restarted') this.#restart(lane, event.head)
      else if (event.kind === 'revoked') {
        this.#revoked.set(event.user, performance.now())
        this.closeUser(event.user, 'revoked')
      } else if (event.kind === 'dropped') recount.add(event.channel)
      else {
        if (event.kind !== 'ephemeral') lane.position = event.seq
        const user = userOf(event.channel)
        if (user !== undefined && this.connections.of(user).length === 0) {
          unsent.push(event)
          continue
        }
        const outgoing = new Outgoing(event, lane.log.epoch)
        all.push(outgoing)
        if (user === undefined) shared.push(outgoing)
        else {
          const own = personal.get(user)
          if (own) own.push(outgoing)
          else personal.set(user, [outgoing])
        }
      }
    }
    // Behind events of shared channels, and where entries left without one, there are places that are no event's.
    lane.position = Math.max(lane.position, lane.log.head)
    for (const channel of recount) this.#recount(lane, channel)
    const mixed = shared.length > 0 ? lane.deliver(shared, personal) : null
    for (const [user, own] of personal) {
      const tabs = this.connections.of(user)
      // From the end: one that is closed by its write leaves, and those before it stay where they are.
      for (let i = tabs.length - 1; i >= 0; i--) {
        const connection = tabs[i]
        if (!connection) continue
        for (const outgoing of own) outgoing.connections++
        connection.deliver(
          mixed?.has(connection)
            ? all.filter(({ event }) => readsChannel(connection, event.channel))
            : own
        )
      }
    }
    this.observer.followed(all, unsent)
  }

  /** What was written so far cannot be gone on from: everybody begins anew. */
  #restart(lane: Lane, head: number): void {
    lane.position = head
    for (const connection of [...this.connections])
      if (connection.lane === lane) connection.restart()
  }

  #recount(lane: Lane, channel: Channel): void {
    const user = userOf(channel)
    if (user === undefined) lane.recount(channel)
    else for (const connection of this.connections.of(user)) connection.recount()
  }

  #checkDeadlines(now: number): void {
    if (now < this.#deadlinesAt) return
    this.#deadlinesAt = now + DEADLINES_MS
    // A stall of our own is no fault of the readers: they get the time back.
    const own = this.heartbeats.lagMs
    for (const connection of this.connections) {
      if (connection.stallAt > 0 && connection.stallAt + own <= now) connection.close('slow')
      else if (connection.closeAt <= now) connection.close(connection.closeReason)
    }
  }

  #laneOf(log: Log): Lane {
    return this.#lanes.get(log)!
  }
}
