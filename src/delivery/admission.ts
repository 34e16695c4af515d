import ipaddr from 'ipaddr.js'
import { MIN_OPENINGS, OPENINGS_MS, OPENINGS_PER_SLOT } from '../bounds/limits.ts'
import { WindowCounts } from '../bounds/window-counts.ts'
import type { Subscriber } from '../log/subscriber.ts'
import type { Codec } from './codec.ts'
import type { Connection } from './connection.ts'
import type { Connections } from './connections.ts'
import type { Refusal } from './goodbye.ts'
import type { Poll, PollOpening } from './poll.ts'
import type { Quota } from './quota.ts'
import type { Receiver } from './receiver.ts'
import type { Sink } from './sink.ts'

/** Limits on open connections; 0 disables a limit. */
export interface ConnectionLimits {
  readonly maxConnections: number
  /** Across all nodes. */
  readonly maxConnectionsPerUser: number
  /** An IPv6 /64 counts as one address. */
  readonly maxConnectionsPerIp: number
}

/** What a transport asks for when it opens a connection. */
export interface OpenRequest {
  readonly subscriber: Subscriber
  /** Topics to read; default all exact names of the credential. */
  readonly topics?: readonly string[] | undefined
  readonly sink: Sink
  readonly codec: Codec
  /** The cursor that the client sent, unvalidated. */
  readonly cursor?: string | undefined
  /** Maximum number of notifications in the `ready` frame; default 25. */
  readonly items?: number | undefined
  /** The id of the request, for the observer; it is not kept. */
  readonly requestId?: string | undefined
}

/** What a transport asks for when it opens a poll. */
export interface PollRequest extends OpenRequest, Pick<PollOpening, 'limit' | 'waits'> {}

/** The right to open one connection. It counts against all limits until it is used or released. */
export interface Reservation {
  /**
   * Why the connection can no longer be opened, or null. Check again if time has passed since the
   * reservation.
   */
  refusal(): Refusal | null
  open(request: OpenRequest): Connection
  poll(request: PollRequest): Poll
  /** Gives it back unused. Does nothing after it was used or released; may be called unbound. */
  readonly release: () => void
}

/** What admission needs from the hub. */
export interface AdmissionHost {
  readonly connections: Connections
  /** What prevents any connection of a user, whatever the limits say; null if nothing does. */
  trouble(user: string): Refusal | null
  open(request: OpenRequest): Connection
  poll(request: PollRequest): Poll
}

/**
 * Decides who may open a connection. It limits the total number of open connections, those of each
 * user and address, and how often a user may open one.
 */
export class Admission {
  readonly #host: AdmissionHost
  readonly #quota: Quota
  readonly #limits: ConnectionLimits
  /** Reservations by user; bounded by the open requests. */
  readonly #reserved = new Map<string, number>()
  #reservedTotal = 0
  /** Connections and reservations, by address; bounded by them. */
  readonly #byAddress = new Map<string, number>()
  /**
   * How many connections each user opened recently. Per user, not per address, because thousands of
   * clients behind one proxy may reconnect at once.
   */
  readonly #openings = new WindowCounts()

  constructor(host: AdmissionHost, quota: Quota, limits: ConnectionLimits) {
    this.#host = host
    this.#quota = quota
    this.#limits = limits
  }

  /** Why this node cannot open a connection of this user from this address now, or null. */
  refusal(user: string, address: string): Refusal | null {
    const { maxConnections, maxConnectionsPerUser, maxConnectionsPerIp } = this.#limits
    const trouble = this.#host.trouble(user)
    if (trouble === 'drain') return trouble
    const isFull =
      (maxConnections > 0 && this.#host.connections.size + this.#reservedTotal >= maxConnections) ||
      (maxConnectionsPerUser > 0 && this.slotsOf(user) >= maxConnectionsPerUser) ||
      (maxConnectionsPerIp > 0 &&
        (this.#byAddress.get(addressBlock(address)) ?? 0) >= maxConnectionsPerIp)
    // The limit first: it also holds once the store is back.
    return isFull ? 'limit' : trouble
  }

  /** See {@link Hub.admit}. */
  async admit(
    user: string,
    address: string,
    onReserved: () => Promise<void>,
    countsTowardRate: boolean
  ): Promise<Refusal | Reservation> {
    const early = this.refusal(user, address) ?? (countsTowardRate ? this.#rateRefusal(user) : null)
    if (early) return early
    if (countsTowardRate) this.#openings.count(user, OPENINGS_MS)
    const reservation = this.#reserve(user, address)
    try {
      const granted = await this.#quota.acquire(user, this.slotsOf(user))
      const refusal = granted ? this.#host.trouble(user) : 'limit'
      if (refusal === null) {
        await onReserved()
        return reservation
      }
      reservation.release()
      return refusal
    } catch (error) {
      reservation.release()
      throw error
    }
  }

  /** How many connections each user has here, reservations included. */
  *slots(): Generator<readonly [user: string, count: number]> {
    for (const [user, count] of this.#host.connections.counts())
      yield [user, count + (this.#reserved.get(user) ?? 0)]
    for (const [user, count] of this.#reserved)
      if (this.#host.connections.of(user).length === 0) yield [user, count]
  }

  /** The same for one user. */
  slotsOf(user: string): number {
    return this.#host.connections.of(user).length + (this.#reserved.get(user) ?? 0)
  }

  /** A connection was opened, with a reservation or without. */
  opened({ remoteAddress }: Receiver): void {
    this.#countAddress(remoteAddress, 1)
  }

  closed({ user, remoteAddress }: Receiver): void {
    this.#countAddress(remoteAddress, -1)
    this.#quota.report(user, this.slotsOf(user))
  }

  #reserve(user: string, address: string): Reservation {
    let settled = false
    this.#count(user, address, 1)
    const settle = (): boolean => {
      if (settled) return false
      settled = true
      this.#count(user, address, -1)
      return true
    }
    return {
      refusal: () => this.#host.trouble(user),
      open: (request) => {
        settle()
        return this.#host.open(request)
      },
      poll: (request) => {
        settle()
        return this.#host.poll(request)
      },
      // Report even after a refusal: reports in the meantime counted this reservation.
      release: () => {
        if (settle()) this.#quota.report(user, this.slotsOf(user))
      }
    }
  }

  #count(user: string, address: string, by: 1 | -1): void {
    this.#reservedTotal += by
    add(this.#reserved, user, by)
    this.#countAddress(address, by)
  }

  #countAddress(address: string, by: 1 | -1): void {
    if (this.#limits.maxConnectionsPerIp > 0) add(this.#byAddress, addressBlock(address), by)
  }

  #rateRefusal(user: string): Refusal | null {
    const { maxConnectionsPerUser } = this.#limits
    if (maxConnectionsPerUser === 0) return null
    const max = Math.max(MIN_OPENINGS, maxConnectionsPerUser * OPENINGS_PER_SLOT)
    return this.#openings.current(user) >= max ? 'limit' : null
  }
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by
  if (count > 0) counts.set(key, count)
  else counts.delete(key)
}

/** A customer with IPv6 has a whole /64 (RFC 6177): all of it counts as one address. */
function addressBlock(address: string): string {
  if (!ipaddr.IPv6.isValid(address)) return address
  const parsed = ipaddr.IPv6.parse(address)
  if (parsed.isIPv4MappedAddress()) return parsed.toIPv4Address().toString()
  return parsed.parts.slice(0, 4).join(':')
}
