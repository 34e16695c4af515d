import { MAX_PAGE_BYTES, REDIS_INSPECT_MS } from '../../bounds/limits.ts'
import { type Channel, isPersonal, userChannel } from '../../log/channel.ts'
import type { MarkOp } from '../../log/event.ts'
import type { Counts } from '../../log/notification.ts'
import type {
  Credentials,
  CursorStatus,
  EventLog,
  Follower,
  Inbox,
  InboxPage,
  InboxQuery,
  Log,
  LogGap,
  LogPage,
  MarkOutcome,
  MarkTarget,
  NotificationDetails,
  Operator,
  PublishOutcome,
  StoredNotification,
  TicketHolder
} from '../../log/store.ts'
import { isFenced } from '../fenced-seqs.ts'
import { StoreOpenError } from '../store-open-error.ts'
import type { StoreLog, StoreOptions } from '../store-options.ts'
import { connectRedis, type RedisClients } from './client.ts'
import { decodeDetails, decodeInboxPage, decodeLogPage, decodeNotification } from './decode.ts'
import { type RedisKeys, redisKeys } from './keys.ts'
import { LogCalls } from './log-calls.ts'
import { storeErrorOf } from './redis-errors.ts'
import { RedisLog } from './redis-log.ts'
import { channelOf, listOf, numberOf, textOf } from './replies.ts'
import { inspectServer, type ServerReport } from './server-checks.ts'
import type { ShardPublication } from './shard-publication.ts'
import { Sweeper } from './sweeper.ts'
import { WriteQueue } from './write-queue.ts'

/** What a shard needs to know. The config has checked that there is an address. */
export type RedisShardOptions = StoreOptions & { readonly redisUrl: string }

const SILENT: StoreLog = { trouble: () => {}, warning: () => {} }

/**
 * One log in Redis, which many processes share and each of them follows. It has connections of its
 * own, so that no shard waits for the server of another.
 */
export class RedisShard
  implements Log, Inbox, Credentials, Pick<EventLog, 'read'>, Pick<Operator, 'details'>
{
  readonly #clients: RedisClients
  readonly #keys: RedisKeys
  readonly #log: RedisLog
  readonly #calls: LogCalls
  readonly #queue: WriteQueue
  readonly #sweeper: Sweeper
  readonly #logs: StoreLog
  readonly #inspector: NodeJS.Timeout
  #report: ServerReport | undefined
  #listener: Follower = () => {}
  #closed: Promise<void> | undefined

  private constructor(
    clients: RedisClients,
    keys: RedisKeys,
    options: RedisShardOptions,
    first: RedisShard | undefined
  ) {
    const { retentionDays, retentionPerChannel, redisShards, redisWaitReplicas } = options
    this.#clients = clients
    this.#keys = keys
    this.#logs = options.log ?? SILENT
    this.#log = new RedisLog(clients, {
      keys,
      retentionPerChannel,
      retentionDays,
      shards: redisShards,
      first: first?.log,
      onEvents: (events) => {
        this.#listener(events, this)
        this.#sweeper.followed(events)
      },
      onOpened: (nextExpiry) => this.#sweeper.opened(nextExpiry),
      onRefused: (reason) => this.#logs.trouble(`Redis: ${reason}`)
    })
    this.#calls = new LogCalls(clients, this.#log, redisWaitReplicas)
    this.#sweeper = new Sweeper(this.#calls, this.#log, retentionDays, (error) =>
      this.#failed('expiry and retention', error)
    )
    this.#queue = new WriteQueue(this.#calls, (ms) => options.onCommit?.(ms))
    this.#inspector = setInterval(() => void this.#inspect(), REDIS_INSPECT_MS).unref()
    clients.commands.on('ready', () => void this.#inspect())
  }

  /**
   * Connects, and waits briefly for Redis to reply. A server that is down is used once it is back.
   * `first` is the shard with the index 0, undefined for that shard itself. Rejects with {@link
   * StoreOpenError}.
   */
  static async open(
    index: number,
    options: RedisShardOptions,
    first?: RedisShard
  ): Promise<RedisShard> {
    const log = options.log ?? SILENT
    const clients = await connectRedis(options.redisUrl, {
      name: 'bellwire',
      onError: (error, role) => log.trouble(`Redis (${role}): ${error.message}`)
    })
    const shard = new RedisShard(clients, redisKeys(options.redisPrefix, index), options, first)
    await shard.#log.begin()
    const { failure, mismatch } = shard.#log
    if (mismatch !== null) {
      await shard.close()
      const remedy = 'set it back, or export the log and import it under another REDIS_PREFIX'
      throw new StoreOpenError(
        `${mismatch}: users would be looked up in the wrong shard; ${remedy}`
      )
    }
    if (failure === null) await Promise.all([shard.#inspect(), shard.#sweeper.sweep()])
    return shard
  }

  /** The log of this shard, for the other shards. */
  get log(): RedisLog {
    return this.#log
  }

  get epoch(): string {
    return this.#log.epoch
  }

  get head(): number {
    return this.#log.head
  }

  get oldest(): number {
    return this.#log.floor
  }

  get healthy(): boolean {
    return this.#log.reason === null
  }

  /** What the server said about itself when it was last asked. */
  get report(): ServerReport | undefined {
    return this.#report
  }

  cursorStatus(epoch: string, seq: number): CursorStatus {
    if (epoch !== this.epoch) return 'foreign'
    return seq > this.head || isFenced(seq, this.#log.fences) ? 'undone' : 'held'
  }

  follow(listener: Follower): void {
    this.#listener = listener
  }

  /** See {@link EventLog.catchUp}. */
  catchUp(): Promise<void> {
    return this.#log.pull()
  }

  /** Appends what this shard keeps of publications; see {@link EventLog.publish}. */
  publish(items: readonly ShardPublication[]): Promise<readonly PublishOutcome[]> {
    return this.#queue.publish(items)
  }

  async notification(id: string): Promise<StoredNotification | null> {
    return decodeNotification(id, await this.#calls.read('getNotification', [id, '']))
  }

  async details(id: string): Promise<NotificationDetails | null> {
    return decodeDetails(id, this.epoch, await this.#calls.read('getNotification', [id, '1']))
  }

  async recall(id: string): Promise<boolean> {
    const [, existed] = await this.#queue.turn(() => this.#calls.write('recall', [id]))
    return existed === 1
  }

  async recallKey(channel: Channel, key: string): Promise<boolean> {
    return (await this.#calls.write('recallKey', [channel, key]))[1] === 1
  }

  async mark(user: string, op: MarkOp, target: MarkTarget): Promise<MarkOutcome> {
    const byIds = 'ids' in target
    const which = byIds ? await this.#findChannels(user, target) : target.scope
    for (let progress = '1 - 0'; ; ) {
      const args = [user, op, byIds ? '' : String(target.upTo), progress, ...which]
      const call = () => this.#calls.write('mark', args)
      // Most marks are short: only what takes more than one call waits for its turn.
      const [, affected, seq, rest] = await (progress === '1 - 0' ? call() : this.#queue.turn(call))
      if (rest === undefined) return { affected: numberOf(affected), seq: numberOf(seq) }
      progress = textOf(rest)
    }
  }

  async erase(user: string): Promise<void> {
    while ((await this.#queue.turn(() => this.#calls.write('erase', [user])))[1] === 1);
  }

  async read(
    user: string,
    scope: readonly Channel[],
    after: number,
    limit: number
  ): Promise<LogPage | LogGap> {
    const args = [user, String(after), String(limit), String(MAX_PAGE_BYTES), ...scope]
    return decodeLogPage(await this.#calls.read('read', args))
  }

  async inbox(
    user: string,
    scope: readonly Channel[],
    { status, limit, before }: InboxQuery
  ): Promise<InboxPage> {
    const args = [user, status, String(limit), String(before ?? ''), ...scope]
    return decodeInboxPage(await this.#calls.read('inbox', args))
  }

  async counts(user: string, scope: readonly Channel[]): Promise<Counts> {
    const [, unread, unseen] = listOf(await this.#calls.read('counts', [user, ...scope]))
    return { unread: numberOf(unread), unseen: numberOf(unseen) }
  }

  async putTicket(hash: string, holder: TicketHolder, expiresAt: number): Promise<void> {
    const args = [hash, holder.user, JSON.stringify(holder.topics), String(expiresAt)]
    await this.#calls.write('putTicket', args)
  }

  async takeTicket(
    hash: string,
    { keep = false }: { keep?: boolean } = {}
  ): Promise<TicketHolder | null> {
    const [, user, topics] = keep
      ? listOf(await this.#calls.read('takeTicket', [hash, '1']))
      : await this.#calls.write('takeTicket', [hash, ''])
    if (user === undefined) return null
    return { user: textOf(user), topics: listOf(JSON.parse(textOf(topics))).map(textOf) }
  }

  async revoke(user: string): Promise<void> {
    await this.#calls.write('revoke', [user])
  }

  async revokedAt(user: string): Promise<number> {
    return Number((await this.#calls.read('revokedAt', [user])) ?? 0)
  }

  abandon(): void {
    this.#queue.abandon()
  }

  close(): Promise<void> {
    this.#closed ??= this.#end()
    return this.#closed
  }

  async #end(): Promise<void> {
    this.#sweeper.close()
    clearInterval(this.#inspector)
    await this.#queue.idle()
    this.#log.close()
  }

  /** The channels in which the user may mark these ids, as channel, id, channel, id …. */
  async #findChannels(
    user: string,
    { ids, allows }: Extract<MarkTarget, { ids: readonly string[] }>
  ): Promise<string[]> {
    if (ids.length === 0) return []
    const own = userChannel(user)
    const found = listOf(await this.#calls.read('findChannels', [user, ...ids]))
    return ids.flatMap((id, index) => {
      if (found[index] === '') return []
      const channel = channelOf(found[index])
      return channel === own || (!isPersonal(channel) && allows(channel)) ? [channel, id] : []
    })
  }

  /** Checks how the server is set up. */
  async #inspect(): Promise<void> {
    if (this.#closed || this.#log.failure !== null) return
    try {
      const report = await inspectServer(this.#clients.reads, this.#keys.state)
      for (const warning of report.warnings) this.#logs.warning(warning)
      this.#report = report
    } catch (error) {
      this.#failed('the checks of the server', error)
    }
  }

  #failed(task: string, error: unknown): void {
    const known = storeErrorOf(error)
    if (this.#closed) return
    const reason = known instanceof Error ? known.message : String(known)
    this.#logs.trouble(`Redis (${task}): ${reason}`)
  }
}
