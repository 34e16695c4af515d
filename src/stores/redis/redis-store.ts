import { type Channel, channelsOf } from '../../log/channel.ts'
import type { Publication } from '../../log/notification.ts'
import type {
  Credentials,
  EventLog,
  Follower,
  Inbox,
  NotificationDetails,
  PublishOutcome,
  Store,
  StoredNotification,
  StoreStatus,
  StoreWarning,
  TicketHolder
} from '../../log/store.ts'
import { StoreOpenError } from '../store-open-error.ts'
import type { StoreOptions } from '../store-options.ts'
import { publishToShards } from './publish-to-shards.ts'
import { RedisShard } from './redis-shard.ts'
import { channelsByShard, shardOf } from './sharding.ts'

type Shards = readonly [RedisShard, ...RedisShard[]]

/**
 * The store that many processes share. It is split into shards, each a log with its own sequence,
 * wherever in a Cluster it lies. A user's events, marks and tickets are in one shard, chosen by
 * name; events for a topic or for everyone are appended to each.
 *
 * An event for several shards is appended to them one by one. A producer whose request failed in
 * between retries with the same idempotency key and completes it: the key is in one shard, and each
 * shard takes a notification once by its id.
 */
export class RedisStore implements Store {
  readonly kind = 'redis'
  readonly logs: Shards
  readonly #lastCommit: { readonly ms: number | undefined }

  private constructor(logs: Shards, lastCommit: { readonly ms: number | undefined }) {
    this.logs = logs
    this.#lastCommit = lastCommit
  }

  /**
   * Connects, and waits briefly for Redis to reply. A server that is down is used once it is back.
   * Rejects with {@link StoreOpenError}.
   */
  static async open(options: StoreOptions): Promise<RedisStore> {
    const { redisUrl, log, onCommit } = options
    if (redisUrl === undefined)
      throw new StoreOpenError('REDIS_URL is required with STORE=redis: set the address')
    const shards: RedisShard[] = []
    const lastCommit: { ms: number | undefined } = { ms: undefined }
    const shardOptions = {
      ...options,
      redisUrl,
      onCommit: (ms: number) => {
        lastCommit.ms = ms
        onCommit?.(ms)
      },
      log: log && {
        trouble: (message: string) => log.trouble(message),
        // Shards on one server have the same warnings.
        warning: (warning: StoreWarning) =>
          warningsOf(shards).has(warning.code) || log.warning(warning)
      }
    }
    // The first shard knows whether the number of shards is right; until then no other may be
    // touched.
    const first = await RedisShard.open(0, shardOptions)
    shards.push(first)
    const others = await Promise.allSettled(
      Array.from({ length: options.redisShards - 1 }, (_, index) =>
        RedisShard.open(index + 1, shardOptions, first)
      )
    )
    for (const other of others) if (other.status === 'fulfilled') shards.push(other.value)
    const failed = others.find((other) => other.status === 'rejected')
    if (failed) {
      await Promise.all(shards.map((shard) => shard.close()))
      throw failed.reason
    }
    return new RedisStore([first, ...shards.slice(1)], lastCommit)
  }

  logOf(user: string): RedisShard {
    return this.logs[shardOf(user, this.logs.length)] ?? this.logs[0]
  }

  follow(listener: Follower): void {
    for (const shard of this.logs) shard.follow(listener)
  }

  catchUp(user: string): Promise<void> {
    return this.logOf(user).catchUp()
  }

  publish(items: readonly Publication[]): Promise<readonly PublishOutcome[]> {
    // With one shard nothing has to be divided, which is a fifth of what a publish costs this
    // process.
    if (this.logs.length > 1) return publishToShards(this.logs, items)
    return this.logs[0].publish(items.map((item) => ({ item, channels: channelsOf(item.to) })))
  }

  notification(id: string): Promise<StoredNotification | null> {
    return firstFound(this.logs.map((shard) => shard.notification(id)))
  }

  async details(id: string): Promise<NotificationDetails | null> {
    const stored = await this.notification(id)
    if (stored === null) return null
    const all = await Promise.all(
      this.#shardsOf(channelsOf(stored.to)).map((shard) => shard.details(id))
    )
    const found = all.filter((one) => one !== null)
    const [first] = found
    if (first === undefined) return null
    const readers = { seen: 0, read: 0, archived: 0 }
    for (const { readers: own } of found) {
      readers.seen += own.seen
      readers.read += own.read
      readers.archived += own.archived
    }
    return { ...first, entries: found.flatMap(({ entries }) => entries), readers }
  }

  async recall(id: string): Promise<boolean> {
    const stored = await this.notification(id)
    if (stored === null) return false
    const found = await Promise.all(
      this.#shardsOf(channelsOf(stored.to)).map((shard) => shard.recall(id))
    )
    return found.includes(true)
  }

  async recallKey(channel: Channel, key: string): Promise<boolean> {
    const shards = this.#shardsOf([channel])
    const found = await Promise.all(shards.map((shard) => shard.recallKey(channel, key)))
    return found.includes(true)
  }

  mark(...args: Parameters<Inbox['mark']>) {
    return this.logOf(args[0]).mark(...args)
  }

  erase(user: string): Promise<void> {
    return this.logOf(user).erase(user)
  }

  read(...args: Parameters<EventLog['read']>) {
    return this.logOf(args[0]).read(...args)
  }

  inbox(...args: Parameters<Inbox['inbox']>) {
    return this.logOf(args[0]).inbox(...args)
  }

  counts(...args: Parameters<Inbox['counts']>) {
    return this.logOf(args[0]).counts(...args)
  }

  putTicket(...args: Parameters<Credentials['putTicket']>) {
    return this.logOf(args[1].user).putTicket(...args)
  }

  /**
   * A ticket does not name its user and is in the user's shard, where a revocation finds it: all
   * shards are asked.
   */
  takeTicket(...args: Parameters<Credentials['takeTicket']>): Promise<TicketHolder | null> {
    return firstFound(this.logs.map((shard) => shard.takeTicket(...args)))
  }

  revoke(user: string): Promise<void> {
    return this.logOf(user).revoke(user)
  }

  revokedAt(user: string): Promise<number> {
    return this.logOf(user).revokedAt(user)
  }

  status(): StoreStatus {
    const misconfiguration = firstReason(this.logs.map(({ log }) => log.misconfiguration))
    const reason = misconfiguration ?? firstReason(this.logs.map(({ log }) => log.reason))
    const servers = new Map(
      this.logs.flatMap(({ report }) => (report ? [[report.runId, report.bytes] as const] : []))
    )
    return {
      healthy: reason === null,
      ...(reason === null ? {} : { reason }),
      misconfigured: misconfiguration !== null,
      bytes: servers.size === 0 ? undefined : sum([...servers.values()]),
      commitMs: this.#lastCommit.ms,
      warnings: [...warningsOf(this.logs).values()]
    }
  }

  abandon(): void {
    for (const shard of this.logs) shard.abandon()
  }

  async close(): Promise<void> {
    await Promise.all(this.logs.map((shard) => shard.close()))
  }

  /** The shards that hold these channels: one that is down does not affect users of the others. */
  #shardsOf(channels: readonly Channel[]): RedisShard[] {
    const plan = channelsByShard(channels, this.logs.length)
    return this.logs.filter((_, index) => plan.has(index))
  }
}

/**
 * The first answer that is not null; null if all are. If none has been found and a shard could not
 * be asked, rejects, because that shard may have it.
 */
async function firstFound<T>(answers: readonly Promise<T | null>[]): Promise<T | null> {
  const found = answers.map(async (answer) => (await answer) ?? Promise.reject(NOT_FOUND))
  try {
    return await Promise.any(found)
  } catch (error) {
    const { errors } = error instanceof AggregateError ? error : { errors: [error] }
    const failure = errors.find((one) => one !== NOT_FOUND)
    if (failure !== undefined) throw failure
    return null
  }
}

const NOT_FOUND = Symbol('not found')

const firstReason = (reasons: readonly (string | null)[]): string | null =>
  reasons.find((reason) => reason !== null) ?? null

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0)

/** The warnings of the servers of these shards, each once, by its code. */
const warningsOf = (shards: readonly RedisShard[]): ReadonlyMap<string, StoreWarning> =>
  new Map(
    shards.flatMap(({ report }) => report?.warnings ?? []).map((warning) => [warning.code, warning])
  )
