import { REDIS_CALL_LIMIT } from '../../bounds/limits.ts'
import { ArchiveFault, type ArchiveRecord, type ArchiveTarget } from '../../log/archive.ts'
import { StoreOpenError } from '../store-open-error.ts'
import { ARCHIVE_PAGE, ArchiveConnection, type RedisArchiveOptions } from './archive-connection.ts'
import { encodeRecord } from './encode-record.ts'
import type { RedisKeys } from './keys.ts'
import { openLog } from './open-log.ts'
import { listOf, numberOf, textOf } from './replies.ts'
import { logArgs, SCRIPTS } from './scripts.ts'

/**
 * Imports into an empty log that no node serves. What was loaded and not committed is removed on
 * close, unless the process is killed.
 */
export class RedisArchiveTarget implements ArchiveTarget {
  readonly #redis: ArchiveConnection
  /** What every script takes first, for each shard. */
  readonly #shards: readonly (readonly string[])[]
  readonly #now = Date.now()
  #committed = false
  #open = true

  private constructor(redis: ArchiveConnection, shards: readonly (readonly string[])[]) {
    this.#redis = redis
    this.#shards = shards
  }

  /** Rejects with {@link StoreOpenError}, also if the log is not empty or a node serves it. */
  static async open(options: RedisArchiveOptions): Promise<RedisArchiveTarget> {
    const redis = await ArchiveConnection.open(options)
    try {
      await rejectIfInUse(redis)
      const shards: string[][] = []
      for (const keys of redis.shards) shards.push(await begin(redis, keys, options))
      return new RedisArchiveTarget(redis, shards)
    } catch (error) {
      redis.clients.close()
      throw error
    }
  }

  async load(records: readonly ArchiveRecord[]): Promise<void> {
    for (const [shard, args] of this.#shards.entries()) await this.#loadInto(shard, args, records)
  }

  async #loadInto(
    shard: number,
    args: readonly string[],
    records: readonly ArchiveRecord[]
  ): Promise<void> {
    let batch = emptyBatch()
    for (const [index, record] of records.entries()) {
      for (const encoded of encodeRecord(record, shard, this.#shards.length, this.#now)) {
        const bytes = encoded.reduce((sum, value) => sum + value.length, 0)
        const entries = record.kind === 'notification' ? record.places.length : 1
        // Lua unpacks at most some thousand values at once, and Redis does nothing else meanwhile.
        const full =
          batch.bytes + bytes > REDIS_CALL_LIMIT.bytes || batch.entries + entries > ARCHIVE_PAGE
        if (batch.indexes.length > 0 && full) {
          await this.#send(args, batch)
          batch = emptyBatch()
        }
        batch.values.push(...encoded)
        batch.bytes += bytes
        batch.entries += entries
        batch.indexes.push(index)
      }
    }
    await this.#send(args, batch)
  }

  async #send(args: readonly string[], { values, indexes }: Batch): Promise<void> {
    if (values.length === 0) return
    const reply = await SCRIPTS.import.run(this.#redis.clients.commands, [...args, ...values])
    const [, failed, reason] = listOf(reply)
    if (failed !== undefined) throw new ArchiveFault(indexes[numberOf(failed)] ?? 0, textOf(reason))
  }

  async commit(): Promise<void> {
    this.#committed = true
  }

  async close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    try {
      if (!this.#committed) await this.#removeAll()
    } finally {
      this.#redis.clients.close()
    }
  }

  async #removeAll(): Promise<void> {
    for (const { base } of this.#redis.shards) {
      for await (const names of this.#redis.keys(base, ''))
        await this.#redis.clients.commands.unlink(...names.map((name) => `${base}${name}`))
    }
  }
}

/** What one call of `import-2.lua` takes. */
interface Batch {
  readonly values: string[]
  /** Index of each of its records in the call of `load`: those for other shards are left out. */
  readonly indexes: number[]
  bytes: number
  entries: number
}

const emptyBatch = (): Batch => ({ values: [], indexes: [], bytes: 0, entries: 0 })

async function rejectIfInUse(redis: ArchiveConnection): Promise<void> {
  const running = await redis.runningNodes()
  if (running !== null) {
    throw new StoreOpenError(
      `${running}: stop all nodes, wait 20 s after a crash, and import again`
    )
  }
  for (const { state, base } of redis.shards) {
    if (Number((await redis.clients.commands.hget(state, 'seq')) ?? 0) > 0) {
      throw new StoreOpenError(
        `Redis already holds a log under ${redis.prefix}: set REDIS_PREFIX to another name, or delete the keys ${base}*`
      )
    }
  }
}

/** Begins the log of one shard. Returns what every script takes first there. */
async function begin(
  { clients }: ArchiveConnection,
  keys: RedisKeys,
  { retentionDays, redisShards }: RedisArchiveOptions
): Promise<string[]> {
  const sharded = clients.kind === 'cluster'
  const argsOf = (epoch: string): string[] =>
    logArgs({ keys, epoch, retentionPerChannel: 0, retentionDays, sharded })
  const { epoch } = await openLog(clients.commands, {
    logArgs: argsOf(''),
    knownSeq: null,
    shards: redisShards,
    mayBegin: true
  })
  return argsOf(epoch)
}
