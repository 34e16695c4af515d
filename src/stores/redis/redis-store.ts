import { type Channel, channelsOf } from '../../log/channel.ts'
import type { MarkOp } from '../../log/event.ts'
import type { Counts, Publication } from '../../log/notification.ts'
import type {
  Follower,
  InboxPage,
  InboxStatus,
  Log,
  LogGap,
  LogPage,
  MarkOutcome,
  MarkTarget,
  NotificationDetails,
  PublishOutcome,
  Store,
  StoredNotification,
  StoreStatus,
  StoreWarning,
  TicketHolder
} from '../../log/store.ts'
import { rejectIfAllFailed } from '../join-outcomes.ts'
import { StoreOpenError } from '../store-open-error.ts'
import type { StoreOptions } from '../store-options.ts'
import { RedisShard } from './redis-shard.ts'
import type { ShardPublication } from './shard-publication.ts'
import { channelsByShard, shardOf } from './sharding.ts'

/**
 * The store that many processes share. It is split into shards, each a log with a sequence of its own, wherever in a cluster it lies:
 * a user's events, marks and tickets are in one, chosen by name; what is for a topic or for everyone is appended to each.
 *
 * What lies in several shards is appended to them one by one. A producer that was told of a failure in between and comes again with
 * the same idempotency key completes it: the key lies in one shard, and each takes a notification once by its id.
 */
export class RedisStore implements Store {
  readonly kind = 'redis'
  readonly logs: readonly [RedisShard, ...RedisShard[]]
  readonly #commit: { readonly ms: number | undefined }

  private constructor(
    logs: readonly [RedisShard, ...RedisShard[]],
    commit: { readonly ms: number | undefined }
  ) {
    this.logs = logs
    this.#commit = commit
  }

  /** Connects, and waits a moment for Redis to answer: one that is away now is found when it comes. Rejects with {@link StoreOpenError}. */
  static async open(options: StoreOptions): Promise<RedisStore> {
    const { redisUrl, log, onCommit } = options
    if (redisUrl === undefined)
      throw new StoreOpenError('REDIS_URL is required with STORE=redis: set the address')
    const shards: RedisShard[] = []
    const commit: { ms: number | undefined } = { ms: undefined }
    const shardOptions = {
      ...options,
      redisUrl,
      onCommit: (ms: number) => {
        commit.ms = ms
        onCommit?.(ms)
      },
      log: log && {
        trouble: (message: string) => log.trouble(message),
        // Shards on one server have the same to tell.
        warning: (warning: StoreWarning) =>
          warningsOf(shards).has(warning.code) || log.warning(warning)
      }
    }
    // The first tells whether there are as many as it was begun with; before that no other may be touched.
    const first = await RedisShard.open(0, shardOptions)
    shards.push(first)
    const others = await Promise.allSettled(
      Array.from({ length: options.redisShards - 1 }, (_, k) =>
        RedisShard.open(k + 1, shardOptions, first)
      )
    )
    for (const other of others) if (other.status === 'fulfilled') shards.push(other.value)
    const failed = others.find((other) => other.status === 'rejected')
    if (failed) {
      await Promise.all(shards.map((shard) => shard.close()))
      throw failed.reason
    }
    return new RedisStore([first, ...shards.slice(1)], commit)
  }

  logOf(user: string): Log {
    return this.#shardOf(user)
  }

  follow(listener: Follower): void {
    for (const shard of this.logs) shard.follow(listener)
  }

  catchUp(user: string): Promise<void> {
    return this.#shardOf(user).catchUp()
  }

  publish(items: readonly Publication[]): Promise<readonly PublishOutcome[]> {
    // Where there is but one nothing has to be divided: a fifth of what a publish costs this process.
    if (this.logs.length > 1) return this.#publishParts(items)
    return this.logs[0].publish(items.map((item) => ({ item, channels: channelsOf(item.to) })))
  }

  async #publishParts(items: readonly Publication[]): Promise<readonly PublishOutcome[]> {
    const plans = items.map((item) => channelsByShard(channelsOf(item.to), this.logs.length))
    const claims = await this.#claim(items, plans)
    const parts = new Parts(this.logs)
    items.forEach((item, index) => {
      const claim = claims.get(index)
      if (claim !== undefined && !('id' in claim)) return
      const own = claim === undefined ? item : claimed(item, claim)
      for (const [shard, channels] of plans[index]!)
        parts.add(shard, index, { item: own, channels })
    })
    const found = await parts.publish()
    return rejectIfAllFailed(
      items.map((_, index) => outcomeOf(claims.get(index), found.get(index) ?? []))
    )
  }

  notification(id: string): Promise<StoredNotification | null> {
    return anyOf(this.logs.map((shard) => shard.notification(id)))
  }

  async details(id: string): Promise<NotificationDetails | null> {
    const note = await this.notification(id)
    if (note === null) return null
    const found = (
      await Promise.all(this.#shardsOf(note).map((shard) => shard.details(id)))
    ).filter((one) => one !== null)
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
    const note = await this.notification(id)
    if (note === null) return false
    const found = await Promise.all(this.#shardsOf(note).map((shard) => shard.recall(id)))
    return found.includes(true)
  }

  mark(user: string, op: MarkOp, target: MarkTarget): Promise<MarkOutcome> {
    return this.#shardOf(user).mark(user, op, target)
  }

  erase(user: string): Promise<void> {
    return this.#shardOf(user).erase(user)
  }

  read(
    user: string,
    scope: readonly Channel[],
    after: number,
    limit: number
  ): Promise<LogPage | LogGap> {
    return this.#shardOf(user).read(user, scope, after, limit)
  }

  inbox(
    user: string,
    scope: readonly Channel[],
    query: { status: InboxStatus; limit: number; before?: number | undefined }
  ): Promise<InboxPage> {
    return this.#shardOf(user).inbox(user, scope, query)
  }

  counts(user: string, scope: readonly Channel[]): Promise<Counts> {
    return this.#shardOf(user).counts(user, scope)
  }

  putTicket(hash: string, holder: TicketHolder, expiresAt: number): Promise<void> {
    return this.#shardOf(holder.user).putTicket(hash, holder, expiresAt)
  }

  /** Who brings a ticket does not say whose it is, and it lies with its user, so that a revocation finds it: all are asked. */
  takeTicket(hash: string, options?: { keep?: boolean }): Promise<TicketHolder | null> {
    return anyOf(this.logs.map((shard) => shard.takeTicket(hash, options)))
  }

  revoke(user: string): Promise<void> {
    return this.#shardOf(user).revoke(user)
  }

  revokedAt(user: string): Promise<number> {
    return this.#shardOf(user).revokedAt(user)
  }

  status(): StoreStatus {
    const misfit = this.logs.find((shard) => shard.misfit !== null)?.misfit ?? null
    const reason = misfit ?? this.logs.find((shard) => shard.reason !== null)?.reason ?? null
    const servers = new Map(
      this.logs.flatMap(({ report }) =>
        report === undefined ? [] : [[report.runId, report.bytes]]
      )
    )
    return {
      healthy: reason === null,
      ...(reason === null ? {} : { reason }),
      misconfigured: misfit !== null,
      bytes:
        servers.size === 0
          ? undefined
          : [...servers.values()].reduce((sum, bytes) => sum + bytes, 0),
      commitMs: this.#commit.ms,
      warnings: [...warningsOf(this.logs).values()]
    }
  }

  abandon(): void {
    for (const shard of this.logs) shard.abandon()
  }

  async close(): Promise<void> {
    await Promise.all(this.logs.map((shard) => shard.close()))
  }

  #shardOf(user: string): RedisShard {
    return this.logs[shardOf(user, this.logs.length)]!
  }

  /** Where it may lie: a shard that is away is no matter to what is for users of the others. */
  #shardsOf({ to }: StoredNotification): RedisShard[] {
    return [...channelsByShard(channelsOf(to), this.logs.length).keys()].map(
      (shard) => this.logs[shard]!
    )
  }

  /**
   * Takes the idempotency keys of what does not lie in the key's own shard alone, where the append would take them. The outcome of each
   * by its index: it was accepted, now or before, with this id, or it was not.
   */
  async #claim(
    items: readonly Publication[],
    plans: readonly ReadonlyMap<number, unknown>[]
  ): Promise<ReadonlyMap<number, PublishOutcome>> {
    const parts = new Parts(this.logs)
    items.forEach((item, index) => {
      if (item.idempotency === undefined) return
      const home = shardOf(item.idempotency.key, this.logs.length)
      const plan = plans[index]!
      if (plan.size === 1 && plan.has(home)) return
      parts.add(home, index, { item: { ...item, ephemeral: true }, channels: [] })
    })
    return new Map([...(await parts.publish())].map(([index, [outcome]]) => [index, outcome!]))
  }
}

/** What goes to each shard of one call, in the order of its items, and what came of each item there. */
class Parts {
  readonly #shards: readonly RedisShard[]
  readonly #parts = new Map<number, { indexes: number[]; items: ShardPublication[] }>()

  constructor(shards: readonly RedisShard[]) {
    this.#shards = shards
  }

  add(shard: number, index: number, item: ShardPublication): void {
    let part = this.#parts.get(shard)
    if (!part) {
      part = { indexes: [], items: [] }
      this.#parts.set(shard, part)
    }
    part.indexes.push(index)
    part.items.push(item)
  }

  /** The outcomes of each item in its shards, by its index. */
  async publish(): Promise<ReadonlyMap<number, readonly PublishOutcome[]>> {
    const found = new Map<number, PublishOutcome[]>()
    await Promise.all(
      [...this.#parts].map(async ([shard, { indexes, items }]) => {
        // What another shard took was taken: the items of one that failed are told apart.
        const outcomes = await this.#shards[shard]!.publish(items).catch((error: unknown) =>
          items.map((): PublishOutcome => ({ kind: 'failed', error }))
        )
        outcomes.forEach((outcome, k) => {
          const index = indexes[k]!
          const known = found.get(index)
          if (known) known.push(outcome)
          else found.set(index, [outcome])
        })
      })
    )
    return found
  }
}

/** What the first shard says that knows it; null where none does. Where one is away that may be the one: then nobody can tell. */
async function anyOf<T>(answers: readonly Promise<T | null>[]): Promise<T | null> {
  const found = answers.map(async (answer) => (await answer) ?? Promise.reject(NOTHING))
  try {
    return await Promise.any(found)
  } catch (error) {
    const failure = (error as AggregateError).errors.find((one) => one !== NOTHING)
    if (failure !== undefined) throw failure
    return null
  }
}

const NOTHING = Symbol('nothing')

/** A publication under the id with which its key was first taken. Each shard takes it once by that id, which is no key of a producer. */
function claimed(
  item: Publication,
  { id, createdAt }: { readonly id: string; readonly createdAt: number }
): Publication {
  return {
    ...item,
    id,
    createdAt,
    idempotency: { key: id, fingerprint: item.idempotency!.fingerprint }
  }
}

/** One outcome for the producer, from that of its key, if it was taken beforehand, and those of the shards. */
function outcomeOf(
  claim: PublishOutcome | undefined,
  found: readonly PublishOutcome[]
): PublishOutcome {
  const failed = found.find(({ kind }) => kind === 'failed')
  if (failed !== undefined) return failed
  if (claim !== undefined && !('id' in claim)) return claim
  // It expired between its shards, or before a second try at it: whoever has it has it.
  const taken = found.find(({ kind }) => kind !== 'expired')
  return taken === undefined ? found[0]! : (claim ?? taken)
}

/** What the servers of these shards have to tell, each once, by its code. */
const warningsOf = (shards: readonly RedisShard[]): ReadonlyMap<string, StoreWarning> =>
  new Map(
    shards.flatMap(({ report }) => report?.warnings ?? []).map((warning) => [warning.code, warning])
  )
