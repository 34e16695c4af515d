import { READY_ITEMS } from '../bounds/limits.ts'
import type { FollowedEvent } from '../log/event.ts'
import type { Log, Store } from '../log/store.ts'
import { exactTopics } from '../log/subscriber.ts'
import {
  Admission,
  type AdmissionHost,
  type ConnectionLimits,
  type OpenRequest,
  type PollRequest,
  type Reservation
} from './admission.ts'
import { Connection } from './connection.ts'
import { Connections } from './connections.ts'
import { FanOut } from './fan-out.ts'
import type { CloseReason, Refusal } from './goodbye.ts'
import { HeartbeatManager } from './heartbeat-manager.ts'
import type { Observer } from './observer.ts'
import { Poll } from './poll.ts'
import type { Quota } from './quota.ts'
import type { Opening, Receiver, ReceiverHost } from './receiver.ts'
import { Revocations } from './revocations.ts'

/** Hub settings; each is documented under the setting of the same name in config/settings.ts. */
export interface HubSettings
  extends ConnectionLimits,
    Pick<ReceiverHost, 'heartbeatMs' | 'maxBufferedBytes' | 'stallMs'> {
  /** A connection is closed as `rotate` at this age, give or take a tenth. */
  readonly maxConnectionAgeMs: number
}

/** How often deadlines are checked. */
const DEADLINE_CHECK_MS = 250

/**
 * Opens and closes connections. Passes live events from the store's logs to the connections that
 * are allowed to receive them.
 */
export class Hub implements ReceiverHost, AdmissionHost {
  readonly store: Store
  readonly node: string
  readonly observer: Observer
  /** A connection is removed in the call that closes it. */
  readonly connections: Connections
  readonly heartbeats: HeartbeatManager
  readonly heartbeatMs: number
  readonly maxBufferedBytes: number
  readonly stallMs: number
  readonly #maxConnectionAgeMs: number
  readonly #admission: Admission
  readonly #fanOuts = new Map<Log, FanOut>()
  readonly #revocations = new Revocations()
  #lastNumber = 0
  #draining = false
  #nextDeadlineCheckAt = 0

  constructor(store: Store, node: string, quota: Quota, settings: HubSettings, observer: Observer) {
    this.store = store
    this.node = node
    this.observer = observer
    this.heartbeatMs = settings.heartbeatMs
    this.maxBufferedBytes = settings.maxBufferedBytes
    this.stallMs = settings.stallMs
    this.#maxConnectionAgeMs = settings.maxConnectionAgeMs
    this.connections = new Connections(node)
    this.#admission = new Admission(this, quota, settings)
    this.heartbeats = new HeartbeatManager(settings.heartbeatMs, (now) => this.#checkDeadlines(now))
    this.heartbeats.start()
    store.follow((events, log) => this.#follow(events, this.#fanOutOf(log)))
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
   * Reserves a connection, or returns why it is refused. `onReserved` runs only after the
   * reservation, so a refused request does not use up its ticket. If it rejects, so does this call,
   * and the reservation is released. `countsTowardRate` is false for a request with a rate limit of
   * its own: it does not count among the user's openings.
   */
  admit(
    user: string,
    address: string,
    onReserved: () => Promise<void>,
    { countsTowardRate = true }: { readonly countsTowardRate?: boolean } = {}
  ): Promise<Refusal | Reservation> {
    return this.#admission.admit(user, address, onReserved, countsTowardRate)
  }

  /** How many connections each user has here, reservations included. */
  slots(): Iterable<readonly [user: string, count: number]> {
    return this.#admission.slots()
  }

  /** The same for one user. */
  slotsOf(user: string): number {
    return this.#admission.slotsOf(user)
  }

  /** Opens a stream and starts it. Only {@link admit} checks the limits. */
  open(request: OpenRequest): Connection {
    const connection = this.#add(request, (opening) => new Connection(this, opening))
    this.heartbeats.add(connection)
    return connection
  }

  /** Opens a poll and starts it. Only {@link admit} checks the limits. */
  poll(request: PollRequest): Poll {
    const { limit, waits } = request
    return this.#add(request, (opening) => new Poll(this, { ...opening, limit, waits }))
  }

  #add<R extends Receiver>(request: OpenRequest, create: (opening: Opening) => R): R {
    const { subscriber, sink, codec, cursor, items = READY_ITEMS } = request
    const { user } = subscriber
    const fanOut = this.#fanOutOf(this.store.logOf(user))
    const audience = fanOut.audience(request.topics ?? exactTopics(subscriber), codec)
    const number = ++this.#lastNumber
    const { topics } = audience
    const ends = this.#endOf(subscriber.expiresAt)
    const receiver = create({ number, user, topics, fanOut, sink, codec, cursor, items, ...ends })
    this.connections.add(receiver)
    this.#admission.opened(receiver)
    audience.listeners.add(receiver)
    this.observer.opened(receiver, this.connections.size, request.requestId)
    const checkedAt = subscriber.checkedAt ?? receiver.openedAt
    const reason = this.#revocations.reasonToClose(user, checkedAt)
    // Later in this turn: the caller has not connected the sink yet.
    if (reason) queueMicrotask(() => receiver.close(reason))
    else void receiver.begin()
    return receiver
  }

  /**
   * The latest time at which a connection opened now will end, and the reason. `expiresAt` is
   * milliseconds since 1970.
   */
  #endOf(expiresAt = Number.POSITIVE_INFINITY): Pick<Opening, 'closeAt' | 'closeReason'> {
    const now = performance.now()
    // Spread by a tenth, so that connections that opened together do not end together.
    const aged = now + this.#maxConnectionAgeMs * (0.9 + Math.random() * 0.2)
    const expires = now + (expiresAt - Date.now())
    return expires <= aged
      ? { closeAt: expires, closeReason: 'expired' }
      : { closeAt: aged, closeReason: 'rotate' }
  }

  /** Refuses new connections and closes all, spread over the time given. */
  async drain(drainMs: number): Promise<void> {
    this.#draining = true
    const steps = Math.max(1, Math.min(50, Math.floor(drainMs / 20)))
    const total = this.connections.size
    for (let step = 1; step <= steps && this.connections.size > 0; step++) {
      const target = Math.floor(total * (1 - step / steps))
      for (const connection of this.connections) {
        if (this.connections.size <= target) break
        connection.close('drain')
      }
      await new Promise((resolve) => setTimeout(resolve, drainMs / steps))
    }
    this.closeAll('drain')
  }

  /** Refuses new connections and closes all now. */
  stop(): void {
    this.#draining = true
    this.heartbeats.stop()
    this.closeAll('drain')
  }

  closeAll(reason: CloseReason): void {
    for (const connection of this.connections) connection.close(reason)
  }

  /** Called by a connection or poll that has ended. */
  closed(receiver: Receiver, reason: CloseReason): void {
    if (receiver instanceof Connection) this.heartbeats.remove(receiver)
    this.connections.remove(receiver)
    receiver.fanOut.leave(receiver)
    this.#admission.closed(receiver)
    this.observer.closed(receiver, reason)
  }

  #follow(events: readonly FollowedEvent[], fanOut: FanOut): void {
    for (const event of events) {
      if (event.kind === 'restarted') this.#restart(fanOut, event.head)
      else if (event.kind === 'revoked') this.#revoke(event.user)
    }
    fanOut.follow(events)
  }

  /** No connection can continue from its cursor: each starts over. */
  #restart(fanOut: FanOut, head: number): void {
    fanOut.restart(head)
    for (const connection of this.connections)
      if (connection.fanOut === fanOut) connection.restart()
  }

  #revoke(user: string): void {
    this.#revocations.add(user)
    for (const connection of [...this.connections.of(user)]) connection.close('revoked')
  }

  #checkDeadlines(now: number): void {
    if (now < this.#nextDeadlineCheckAt) return
    this.#nextDeadlineCheckAt = now + DEADLINE_CHECK_MS
    const { lagMs } = this.heartbeats
    for (const connection of this.connections) {
      // If this process stalled, clients are not to blame: they get the time back.
      if (lagMs > DEADLINE_CHECK_MS) connection.excuseStall(lagMs)
      const { stallAt } = connection
      if (stallAt !== null && stallAt <= now) connection.close('slow')
      else if (connection.closeAt <= now) connection.close(connection.closeReason)
    }
  }

  #fanOutOf(log: Log): FanOut {
    let fanOut = this.#fanOuts.get(log)
    if (!fanOut) {
      fanOut = new FanOut(log, this.connections, this.observer)
      this.#fanOuts.set(log, fanOut)
    }
    return fanOut
  }
}
