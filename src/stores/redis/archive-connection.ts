import { LEASE_MS, REDIS_COMMAND_TIMEOUT_MS } from '../../bounds/limits.ts'
import { StoreOpenError } from '../store-open-error.ts'
import type { StoreOptions } from '../store-options.ts'
import { connectRedis, isReady, type RedisClients } from './client.ts'
import { type RedisKeys, redisKeys } from './keys.ts'
import { RedisMisconfigured } from './redis-errors.ts'
import { resultsOf } from './replies.ts'
import { checkAddress } from './server-checks.ts'

/** What an export or an import needs to know; see the settings of the same names. */
export type RedisArchiveOptions = Pick<
  StoreOptions,
  'redisPrefix' | 'redisShards' | 'retentionDays'
> & { readonly redisUrl: string }

/** Keys, or notifications, that are handled at a time. */
export const ARCHIVE_PAGE = 500

/**
 * What export and import share: the connections, the names of the keys, and which nodes are
 * running.
 */
export class ArchiveConnection {
  readonly clients: RedisClients
  readonly prefix: string
  /** The keys of each shard. */
  readonly shards: readonly RedisKeys[]

  private constructor(clients: RedisClients, { redisPrefix, redisShards }: RedisArchiveOptions) {
    this.clients = clients
    this.prefix = redisPrefix
    this.shards = Array.from({ length: redisShards }, (_, shard) => redisKeys(redisPrefix, shard))
  }

  /** Rejects with {@link StoreOpenError}. */
  static async open(options: RedisArchiveOptions): Promise<ArchiveConnection> {
    const { redisUrl, redisPrefix, redisShards } = options
    let trouble = 'it does not reply'
    const clients = await connectRedis(redisUrl, {
      name: `${redisPrefix}:archive`,
      onError: (error) => {
        trouble = error.message
      }
    })
    const end = performance.now() + REDIS_COMMAND_TIMEOUT_MS
    while (!isReady(clients.commands) || !isReady(clients.reads)) {
      if (performance.now() > end) {
        clients.close()
        throw new StoreOpenError(`Redis cannot be reached (${trouble}); check REDIS_URL`)
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await checkAddress(clients).catch((error: unknown) => {
      clients.close()
      throw error instanceof RedisMisconfigured ? new StoreOpenError(error.message) : error
    })
    const { state } = redisKeys(redisPrefix, 0)
    const [epoch, shards] = await clients.reads.hmget(state, 'epoch', 'shards')
    if (epoch === null || Number(shards ?? 1) === redisShards)
      return new ArchiveConnection(clients, options)
    clients.close()
    throw new StoreOpenError(`the log was begun with REDIS_SHARDS=${shards ?? 1}: set it to that`)
  }

  /** Names the nodes that serve this log now, as the start of a sentence; null if none does. */
  async runningNodes(): Promise<string | null> {
    const { reads } = this.clients
    const [seconds] = await reads.time()
    const oldest = Number(seconds) * 1000 - LEASE_MS
    const nodes = await reads.zrangebyscore(`${this.prefix}:{nodes}:seen`, oldest, '+inf')
    if (nodes.length === 0) return null
    return `${nodes.join(', ')} ${nodes.length > 1 ? 'are' : 'is'} running`
  }

  /**
   * The keys that start with `base` and `kind`, some at a time, without that start. A key may come
   * twice.
   */
  async *keys(base: string, kind: string): AsyncGenerator<string[]> {
    const { reads } = this.clients
    const servers = 'nodes' in reads ? reads.nodes('master') : [reads]
    const start = base.length + kind.length
    for (const server of servers) {
      let cursor = '0'
      do {
        const pattern = `${base}${kind}*`
        const [next, keys] = await server.scan(cursor, 'MATCH', pattern, 'COUNT', ARCHIVE_PAGE)
        cursor = next
        if (keys.length > 0) yield keys.map((key) => key.slice(start))
      } while (cursor !== '0')
    }
  }

  /** Runs one read command on each key; rejects with the first error. */
  async each(
    command: string,
    keys: readonly string[],
    ...args: readonly string[]
  ): Promise<unknown[]> {
    return resultsOf(this.clients.reads.pipeline(keys.map((key) => [command, key, ...args])))
  }
}
