import { BoundedCache } from '../bounds/bounded-cache.ts'
import {
  MIN_OPENINGS,
  OPENINGS_MS,
  OPENINGS_PER_PLACE,
  REVOCATION_ECHO_MS
} from '../bounds/limits.ts'
import { WindowCounts } from '../bounds/window-counts.ts'
import type { Places } from '../cluster/cluster.ts'
import { type Channel, userOf } from '../log/channel.ts'
import type { FollowedEvent } from '../log/event.ts'
import type { Log, Store } from '../log/store.ts'
import { exactTopics, type Subscriber } from '../log/subscriber.ts'
import type { CloseReason, Refusal } from './close-reason.ts'
import type { Codec } from './codec.ts'
import { Connection, type ConnectionHost, connectionId, type Opening } from './connection.ts'
import { Outgoing, type Sendable } from './encoded-event.ts'
import { Lane, readsChannel } from './fan-out.ts'
import { HeartbeatManager } from './heartbeat-manager.ts'
import type { Observer } from './observer.ts'
import type { Sink } from './sink.ts'

/** A place for one connection. */
export interface Reservation {
  /**
   * Calls `next` with the reason for a refusal, or null: what it opens in this turn is within all limits. A place that it does not
   * use is given back.
   */
  use<T>(next: (refusal: Refusal | null) => T): T
}

export interface HubSettings {
  readonly heartbeatMs: number
  readonly maxBufferedBytes: number
  readonly stallMs: number
  /** 0 switches a limit off. */
  readonly maxConnections: number
  readonly maxConnectionsPerUser: number
  readonly maxConnectionsPerIp: number
  readonly maxConnectionAgeMs: number
}

export interface OpenRequest {
  readonly subscriber: Subscriber
  /** Topics to read; default all exact names of the credential. */
  readonly topics?: readonly string[] | undefined
  readonly sink: Sink
  readonly codec: Codec
  readonly after?: string | undefined
  readonly items?: number | undefined
  readonly announce?: boolean | undefined
  readonly once?: Opening['once']
  /** Of the request that opens it, for the log line; it is not kept. */
  readonly requestId?: string | undefined
}

/** How often deadlines are looked at. */
const DEADLINES_MS = 250

/** Who gets what. The only registry of connections: one leaves it in the call that closes it. */
export class Hub implements ConnectionHost {
  readonly store: Store
  readonly heartbeats: HeartbeatManager
  readonly node: string
  readonly observer: Observer
  readonly #settings: HubSettings
  readonly #places: Places
  readonly #connections = new Map<number, Connection>()
  readonly #lanes: ReadonlyMap<Log, Lane>
  /** Bounded by the open connections, as is the next. */
  readonly #byUser = new Map<string, Connection[]>()
  readonly #byAddress = new Map<string, number>()
  /** Places that are reserved for connections about to open, by user and by address; bounded by the open requests. */
  readonly #opening = new Map<string, number>()
  readonly #openingFrom = new Map<string, number>()
  #openingTotal = 0
  /** Users revoked lately, and when we heard of it: a connection authenticated before that but opened after it must be closed. */
  readonly #revoked = new BoundedCache<number>('revocations', {
    keep: 'newest',
    ttlMs: REVOCATION_ECHO_MS,
    sizeOf: () => 16,
    onEvict: (at) => {
      this.#revokedUnknown = at
    }
  })
  /** Streams that each user opened lately; per user, since thousands behind one proxy may all come back at once. */
  readonly #openings = new WindowCounts()
  /** Revocations up to here may have been forgotten for want of room. */
  #revokedUnknown = Number.NEGATIVE_INFINITY
  #lastNumber = 0
  #draining = false
  #deadlinesAt = 0

  constructor(
    store: Store,
    node: string,
    places: Places,
    settings: HubSettings,
    observer: Observer
  ) {
    this.store = store
    this.node = node
    this.#places = places
    this.#settings = settings
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
  get size(): number {
    return this.#connections.size
  }
  get users(): number {
    return this.#byUser.size
  }
  get draining(): boolean {
    return this.#draining
  }

  connections(): IterableIterator<Connection> {
    return this.#connections.values()
  }

  /** The connection with a public id, if it is open here. */
  named(id: string): Connection | undefined {
    const number = Number.parseInt(id.slice(this.node.length + 1), 36)
    return connectionId(this.node, number) === id ? this.#connections.get(number) : undefined
  }

  /** Why a connection of this user from this address cannot be opened here now, or null where this node has nothing against it. */
  refusal(user: string, address: string): Refusal | null {
    const { maxConnections, maxConnectionsPerUser, maxConnectionsPerIp } = this.#settings
    if (this.#draining) return 'drain'
    if (maxConnections > 0 && this.#connections.size + this.#openingTotal >= maxConnections)
      return 'limit'
    if (maxConnectionsPerUser > 0 && this.heldOf(user) >= maxConnectionsPerUser) return 'limit'
    if (maxConnectionsPerIp > 0) {
      const block = addressBlock(address)
      const held = (this.#byAddress.get(block) ?? 0) + (this.#openingFrom.get(block) ?? 0)
      if (held >= maxConnectionsPerIp) return 'limit'
    }
    return this.#trouble(user)
  }

  /** What keeps a connection from opening even if it has a place. */
  #trouble(user: string): Refusal | null {
    if (this.#draining) return 'drain'
    return this.store.logOf(user).healthy ? null : 'unavailable'
  }

  /**
   * Reserves a place for a connection, or says why not. `enter` runs once the place is there: what it uses up, such as a ticket,
   * is not used up by a refusal. If it throws, the place is given back. `rated` counts the connection among the user's openings; a
   * request whose rate is limited otherwise does without.
   */
  async reserve(
    user: string,
    address: string,
    enter: () => Promise<void>,
    { rated = true }: { readonly rated?: boolean } = {}
  ): Promise<Reservation> {
    const early = this.refusal(user, address) ?? (rated ? this.#opensTooOften(user) : null)
    if (early) return { use: (next) => next(early) }
    if (rated) this.#openings.count(user, OPENINGS_MS)
    this.#countOpening(user, address, 1)
    let used = false
    const use = <T>(next: (refusal: Refusal | null) => T, refusal = this.#trouble(user)): T => {
      if (used) return next(refusal)
      used = true
      this.#countOpening(user, address, -1)
      const before = this.countUser(user)
      try {
        return next(refusal)
      } finally {
        // Also where none was granted: what was told meanwhile counted this one in.
        if (this.countUser(user) === before) this.#places.hold(user, this.heldOf(user))
      }
    }
    try {
      const granted = await this.#places.take(user, this.heldOf(user))
      const refusal = granted ? this.#trouble(user) : 'limit'
      if (refusal) return use(() => ({ use: (next) => next(refusal) }))
      await enter()
      return { use }
    } catch (error) {
      use(() => {})
      throw error
    }
  }

  /** Reserves a place and uses it in the same turn. */
  async admit<T>(
    user: string,
    address: string,
    enter: () => Promise<void>,
    next: (refusal: Refusal | null) => T,
    options: { readonly rated?: boolean } = {}
  ): Promise<T> {
    return (await this.reserve(user, address, enter, options)).use(next)
  }

  #countOpening(user: string, address: string, by: 1 | -1): void {
    this.#openingTotal += by
    this.#count(this.#opening, user, by)
    if (this.#settings.maxConnectionsPerIp > 0)
      this.#count(this.#openingFrom, addressBlock(address), by)
  }

  #opensTooOften(user: string): Refusal | null {
    const { maxConnectionsPerUser: places } = this.#settings
    const most = Math.max(MIN_OPENINGS, places * OPENINGS_PER_PLACE)
    return places > 0 && this.#openings.current(user) >= most ? 'limit' : null
  }

  /** How many connections each user has, those that are being opened included. */
  *held(): Generator<readonly [user: string, count: number]> {
    for (const [user, tabs] of this.#byUser)
      yield [user, tabs.length + (this.#opening.get(user) ?? 0)]
    for (const [user, count] of this.#opening) if (!this.#byUser.has(user)) yield [user, count]
  }

  /** The same of one user. */
  heldOf(user: string): number {
    return this.countUser(user) + (this.#opening.get(user) ?? 0)
  }

  /** Registers a connection and starts it, within {@link Reservation.use}. */
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
    this.#connections.set(connection.number, connection)
    connection.groupIndex = group.connections.push(connection) - 1
    const tabs = this.#byUser.get(connection.user)
    if (tabs) tabs.push(connection)
    else this.#byUser.set(connection.user, [connection])
    if (this.#settings.maxConnectionsPerIp > 0)
      this.#count(this.#byAddress, addressBlock(sink.remoteAddress), 1)
    if (connection.beats) this.heartbeats.add(connection)
    this.observer.opened(connection, this.#connections.size, request.requestId)
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

  /** The connections that a user has open here. */
  connectionsOf(user: string): readonly Connection[] {
    return this.#byUser.get(user) ?? []
  }

  /** How many connections a user has open. */
  countUser(user: string): number {
    return this.#byUser.get(user)?.length ?? 0
  }

  /** Ends all connections of a user. */
  closeUser(user: string, reason: CloseReason): void {
    for (const connection of [...(this.#byUser.get(user) ?? [])]) connection.close(reason)
  }

  /** Lets nobody in any more and ends everybody, spread over the time given. */
  async drain(drainMs: number): Promise<void> {
    this.#draining = true
    const steps = Math.max(1, Math.min(50, Math.floor(drainMs / 20)))
    const total = this.#connections.size
    for (let step = 1; step <= steps && this.#connections.size > 0; step++) {
      const remain = Math.floor(total * (1 - step / steps))
      for (const connection of this.#connections.values()) {
        if (this.#connections.size <= remain) break
        connection.close('drain')
      }
      await new Promise((resolve) => setTimeout(resolve, drainMs / steps))
    }
    for (const connection of this.#connections.values()) connection.close('drain')
  }

  stop(): void {
    this.#draining = true
    this.heartbeats.stop()
    this.closeAll('drain')
  }

  /** Ends all connections at once. */
  closeAll(reason: CloseReason): void {
    for (const connection of this.#connections.values()) connection.close(reason)
  }

  // What a connection tells its host.

  closed(connection: Connection, reason: CloseReason): void {
    this.heartbeats.remove(connection)
    this.#connections.delete(connection.number)
    connection.lane.leave(connection)
    const tabs = this.#byUser.get(connection.user)!
    if (tabs.length === 1) this.#byUser.delete(connection.user)
    else tabs.splice(tabs.indexOf(connection), 1)
    this.#places.hold(connection.user, this.heldOf(connection.user))
    if (this.#settings.maxConnectionsPerIp > 0)
      this.#count(this.#byAddress, addressBlock(connection.remoteAddress), -1)
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
        if (user !== undefined && !this.#byUser.has(user)) {
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
      const tabs = this.#byUser.get(user) ?? []
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
    for (const connection of [...this.#connections.values()])
      if (connection.lane === lane) connection.restart()
  }

  #recount(lane: Lane, channel: Channel): void {
    const user = userOf(channel)
    if (user === undefined) lane.recount(channel)
    else for (const connection of this.#byUser.get(user) ?? []) connection.recount()
  }

  #checkDeadlines(now: number): void {
    if (now < this.#deadlinesAt) return
    this.#deadlinesAt = now + DEADLINES_MS
    // A stall of our own is no fault of the readers: they get the time back.
    const own = this.heartbeats.lagMs
    for (const connection of this.#connections.values()) {
      if (connection.stallAt > 0 && connection.stallAt + own <= now) connection.close('slow')
      else if (connection.closeAt <= now) connection.close(connection.closeReason)
    }
  }

  #laneOf(log: Log): Lane {
    return this.#lanes.get(log)!
  }

  #count(map: Map<string, number>, key: string, by: number): void {
    const count = (map.get(key) ?? 0) + by
    if (count > 0) map.set(key, count)
    else map.delete(key)
  }
}

/** An IPv6 customer has a /64: that is one address here, however it is written (RFC 4291, 2.2). */
function addressBlock(address: string): string {
  if (!address.includes(':') || address.includes('.')) return address
  const [before = '', after] = address.split('::')
  const left = before === '' ? [] : before.split(':')
  const right = after ? after.split(':') : []
  const missing = after === undefined ? 0 : Math.max(0, 8 - left.length - right.length)
  const groups = [...left, ...Array<string>(missing).fill('0'), ...right]
  return groups.slice(0, 4).join(':')
}
