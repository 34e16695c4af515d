import {
  ACQUIRE_SLOT_MS,
  CLUSTER_KEYS_MS,
  LEASE_MS,
  MAX_UNSURE_USERS,
  SLOTS_SLICE
} from '../../bounds/limits.ts'
import type { Quota } from '../../delivery/quota.ts'
import { resultsOf } from '../../stores/redis/replies.ts'
import type { LocalNode } from '../cluster.ts'
import type { ClusterConnection } from './cluster-connection.ts'
import { within } from './with-deadline.ts'

/** Field that marks a node's slots as complete. No user has this name. */
const COMPLETE = '#'

/** How many connections a user has on this node. */
type UserSlots = readonly [user: string, count: number]

/**
 * The connections of each user on every node, kept in Redis. While Redis is down or slow each node
 * applies the limit by itself: streams stay possible, and a user may then have up to the limit on
 * every node. When Redis is back each node reports its connections again, and none is closed.
 */
export class SlotQuota implements Quota {
  readonly #redis: ClusterConnection
  readonly #maxPerUser: number
  readonly #onFailed: (error: unknown) => void
  /** Users whose count may not have reached Redis; at most {@link MAX_UNSURE_USERS}. */
  readonly #unsure = new Set<string>()
  /** True if there were more of them: then all users are reported. */
  #unsureOfAll = false
  /**
   * False from the first failure until the lease is renewed: opening a stream does not wait
   * meanwhile.
   */
  #available = false

  /**
   * `maxPerUser`: connections of a user on all nodes together; 0: no limit. `onFailed` receives the
   * first failure after each success.
   */
  constructor(redis: ClusterConnection, maxPerUser: number, onFailed: (error: unknown) => void) {
    this.#redis = redis
    this.#maxPerUser = maxPerUser
    this.#onFailed = onFailed
  }

  async acquire(user: string, mine: number): Promise<boolean> {
    const most = this.#maxPerUser
    if (most === 0) return true
    if (mine > most) return false
    if (!this.#available) {
      this.#doubt(user)
      return true
    }
    const { clients, node, slotsKey } = this.#redis
    const keys = [this.#redis.key('seen'), slotsKey]
    const values = [node, user, mine, most, LEASE_MS, this.#redis.key('places:'), CLUSTER_KEYS_MS]
    try {
      const reply = clients.commands.acquireSlot(...keys, ...values)
      return (await within(reply, ACQUIRE_SLOT_MS)) === 1
    } catch (error) {
      this.#doubt(user)
      this.failed(error)
      return true
    }
  }

  report(user: string, mine: number): void {
    if (this.#maxPerUser === 0) return
    if (!this.#available) {
      this.#doubt(user)
      return
    }
    const { clients, slotsKey } = this.#redis
    const reported: Promise<unknown> =
      mine === 0
        ? clients.commands.hdel(slotsKey, user)
        : clients.commands.hset(slotsKey, user, mine)
    reported.catch((error: unknown) => {
      this.#doubt(user)
      this.failed(error)
    })
  }

  /** Redis has failed. */
  failed(error: unknown): void {
    if (!this.#available) return
    this.#available = false
    this.#onFailed(error)
  }

  /**
   * The lease was renewed: Redis is available, and learns what it may have missed. `complete`:
   * whether it has all slots of this node. Called in the turn of the reply, so that later reports
   * follow on the same connection.
   */
  async renewed(local: LocalNode, complete: boolean): Promise<void> {
    this.#available = true
    const all = !complete || this.#unsureOfAll
    const slots = all ? [...local.slots()] : this.#takeUnsure(local)
    if (all) await this.#reportAll(slots)
    else if (slots.length > 0) await this.#send(slots, false)
  }

  #doubt(user: string): void {
    if (this.#unsure.size < MAX_UNSURE_USERS) this.#unsure.add(user)
    else this.#unsureOfAll = true
  }

  #takeUnsure(local: LocalNode): UserSlots[] {
    const users = [...this.#unsure]
    this.#unsure.clear()
    return users.map((user) => [user, local.slotsOf(user)])
  }

  async #reportAll(slots: readonly UserSlots[]): Promise<void> {
    this.#unsure.clear()
    this.#unsureOfAll = false
    await this.#send(slots, true)
  }

  /** Sends the counts of users. `all` replaces what Redis has. */
  async #send(slots: readonly UserSlots[], all: boolean): Promise<void> {
    const { clients, slotsKey } = this.#redis
    const batch = clients.commands.pipeline()
    if (all) batch.del(slotsKey)
    for (let at = 0; at < slots.length; at += SLOTS_SLICE) {
      const slice = slots.slice(at, at + SLOTS_SLICE)
      const gone = slice.filter(([, count]) => count === 0).map(([user]) => user)
      const held = slice.filter(([, count]) => count > 0).flat()
      if (gone.length > 0) batch.hdel(slotsKey, ...gone)
      if (held.length > 0) batch.hset(slotsKey, ...held)
    }
    // Last: without this field the next renewal reports all of them again.
    if (all) batch.hset(slotsKey, COMPLETE, 1)
    batch.pexpire(slotsKey, CLUSTER_KEYS_MS)
    try {
      await resultsOf(batch)
    } catch (error) {
      for (const [user] of slots) this.#doubt(user)
      this.#unsureOfAll ||= all
      throw error
    }
  }
}
