import { readFileSync } from 'node:fs'
import type { Result } from 'ioredis'
import { connectRedis, type RedisClients } from '../../stores/redis/client.ts'
import { numberOf } from '../../stores/redis/replies.ts'

type Values = readonly (string | number)[]

declare module 'ioredis' {
  interface RedisCommander<Context> {
    /** `renew-lease-3.lua` */
    renewLease(...values: Values): Result<unknown, Context>
    /** `acquire-slot-2.lua` */
    acquireSlot(...values: Values): Result<unknown, Context>
  }
}

const script = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8')

/** The connections of a node to the Redis that it shares with others. */
export class ClusterConnection {
  readonly node: string
  readonly prefix: string
  readonly clients: RedisClients

  private constructor(node: string, prefix: string, clients: RedisClients) {
    this.node = node
    this.prefix = prefix
    this.clients = clients
  }

  /** Connects; Redis need not be there yet. `prefix` is `REDIS_PREFIX`. */
  static async open(node: string, prefix: string, redisUrl: string): Promise<ClusterConnection> {
    const clients = await connectRedis(redisUrl, {
      name: `${prefix}:${node}:nodes`,
      // The store reports the same errors, and they must not count twice.
      onError: () => {}
    })
    const { commands } = clients
    commands.defineCommand('renewLease', { numberOfKeys: 3, lua: script('renew-lease-3.lua') })
    commands.defineCommand('acquireSlot', { numberOfKeys: 2, lua: script('acquire-slot-2.lua') })
    return new ClusterConnection(node, prefix, clients)
  }

  /** The name of a key or channel. One hash tag puts all of them into one slot of a Cluster. */
  key(name: string): string {
    return `${this.prefix}:{nodes}:${name}`
  }

  /** The key of this node's slots. Earlier versions use the same name. */
  get slotsKey(): string {
    return this.key(`places:${this.node}`)
  }

  /** Receives every message of the channels that were subscribed to. */
  onMessage(listener: (channel: string, text: string) => void): void {
    this.clients.subscriber.on(this.#sharded ? 'smessage' : 'message', listener)
  }

  /** Subscribes to channels, named in full. */
  async subscribe(...channels: readonly string[]): Promise<void> {
    const { subscriber } = this.clients
    await (this.#sharded ? subscriber.ssubscribe(...channels) : subscriber.subscribe(...channels))
  }

  /** Publishes to a channel, named in full. Resolves with the number of nodes that received it. */
  async publish(channel: string, text: string): Promise<number> {
    const { reads } = this.clients
    return numberOf(
      await (this.#sharded ? reads.spublish(channel, text) : reads.publish(channel, text))
    )
  }

  /** Channels belong to a shard in a Cluster. */
  get #sharded(): boolean {
    return this.clients.kind === 'cluster'
  }
}
