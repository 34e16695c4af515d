import { ASK_MS, BEAT_MS, CLUSTER_KEYS_MS, LEASE_MS } from '../../bounds/limits.ts'
import { isReady, whenReady } from '../../stores/redis/client.ts'
import { reasonOf } from '../../stores/redis/redis-errors.ts'
import { ReplyReader } from '../../stores/redis/replies.ts'
import { type Cluster, type LocalNode, NodeReport, type NodeView } from '../cluster.ts'
import type { NodeAnswer, NodeQuery } from '../node-query.ts'
import { ClusterConnection } from './cluster-connection.ts'
import { NodeMessages } from './node-messages.ts'
import { SlotQuota } from './slot-quota.ts'
import { within } from './with-deadline.ts'

/** What the nodes of one Redis need to know; see the settings of the same names. */
export interface RedisClusterOptions {
  readonly redisUrl: string
  readonly redisPrefix: string
  /** On all nodes together; 0: no limit. */
  readonly maxConnectionsPerUser: number
  /** Receives why the other nodes cannot be reached. */
  readonly onTrouble: (message: string) => void
}

/**
 * The nodes that share one Redis. All keys have one hash tag, `<prefix>:{nodes}:…`:
 *
 * - `seen`, a sorted set, and `reports`, a hash: which nodes are alive, and how they are
 *   (`renew-lease-3.lua`).
 * - `places:<node>`, a hash: the connections of each user on that node (`acquire-slot-2.lua`).
 * Those
 *   of a dead node are deleted when its lease ends.
 * - Channels `ask` and `answer:<node>`: queries of the nodes.
 *
 * Nodes of earlier versions use the same names.
 */
export class RedisCluster implements Cluster {
  readonly #redis: ClusterConnection
  readonly #messages: NodeMessages
  readonly #quota: SlotQuota
  #local: LocalNode | undefined
  #others: readonly NodeView[] = []
  /** Monotonic milliseconds of the last renewal. */
  #renewedAt = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  #renewing = false

  private constructor(
    redis: ClusterConnection,
    { maxConnectionsPerUser, onTrouble }: RedisClusterOptions
  ) {
    this.#redis = redis
    this.#messages = new NodeMessages(redis, onTrouble)
    this.#quota = new SlotQuota(redis, maxConnectionsPerUser, (error) =>
      onTrouble(
        `the other nodes cannot be reached, so limits per user hold on each node by itself: ${reasonOf(error)}`
      )
    )
  }

  /** Connects; Redis need not be there yet. */
  static async open(node: string, options: RedisClusterOptions): Promise<RedisCluster> {
    const redis = await ClusterConnection.open(node, options.redisPrefix, options.redisUrl)
    return new RedisCluster(redis, options)
  }

  join(local: LocalNode): void {
    this.#local = local
    this.#messages.join(local)
    const { commands, subscriber } = this.#redis.clients
    whenReady(subscriber, () => void this.#messages.subscribe())
    whenReady(commands, () => void this.#renew())
    this.#timer = setInterval(() => {
      void this.#renew()
      void this.#messages.subscribe()
    }, BEAT_MS).unref()
  }

  nodes(): readonly NodeView[] {
    if (!this.#local) return []
    const { node } = this.#redis
    const own = { node, report: this.#local.report(), lastSeenAt: Date.now() }
    // While Redis is down the others count as alive for one lease, as after any silence.
    return performance.now() - this.#renewedAt > LEASE_MS ? [own] : [own, ...this.#others]
  }

  get reachable(): boolean {
    return this.#messages.reachable
  }

  ask<K extends NodeQuery['kind']>(
    question: Extract<NodeQuery, { kind: K }>
  ): Promise<readonly NodeAnswer<K>[]> {
    return this.#messages.ask<K>(question)
  }

  acquire(user: string, mine: number): Promise<boolean> {
    return this.#quota.acquire(user, mine)
  }

  report(user: string, mine: number): void {
    this.#quota.report(user, mine)
  }

  async leave(): Promise<void> {
    clearInterval(this.#timer)
    const { clients, node, slotsKey } = this.#redis
    if (this.#local && isReady(clients.commands)) {
      const left = clients.commands
        .multi()
        .zrem(this.#redis.key('seen'), node)
        .hdel(this.#redis.key('reports'), node)
        .del(slotsKey)
        .exec()
      // If this fails the lease ends by itself.
      await within(left, ASK_MS).catch(() => {})
    }
    this.#local = undefined
    clients.close()
  }

  async #renew(): Promise<void> {
    const local = this.#local
    if (!local || this.#renewing) return
    this.#renewing = true
    try {
      const { clients, node, slotsKey } = this.#redis
      const keys = [this.#redis.key('seen'), this.#redis.key('reports'), slotsKey]
      const report = JSON.stringify(local.report())
      const values = [node, report, LEASE_MS, this.#redis.key('places:'), CLUSTER_KEYS_MS]
      const reply = new ReplyReader(await clients.commands.renewLease(...keys, ...values))
      const complete = reply.flag()
      this.#renewedAt = performance.now()
      const ahead = Date.now() - reply.number()
      this.#others = viewsOf(reply, ahead).filter((view) => view.node !== node)
      await this.#quota.renewed(local, complete)
    } catch (error) {
      this.#quota.failed(error)
    } finally {
      this.#renewing = false
    }
  }
}

/**
 * The rest of the reply of `renew-lease-3.lua`. `ahead`: milliseconds that our clock is ahead of
 * that of Redis.
 */
function viewsOf(reply: ReplyReader, ahead: number): NodeView[] {
  const views: NodeView[] = []
  while (!reply.done) {
    const [node, seenAt, text] = [reply.text(), reply.number(), reply.text()]
    const report = parseReport(text)
    // A node of another version may send a report that this one cannot read: it is left out.
    if (report !== undefined) views.push({ node, report, lastSeenAt: seenAt + ahead })
  }
  return views
}

function parseReport(text: string): NodeReport | undefined {
  try {
    return NodeReport.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}
