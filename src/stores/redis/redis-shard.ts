import {
  MAX_PAGE_BYTES,
  MAX_TIMER_MS,
  REDIS_INSPECT_MS,
  REDIS_SWEEP_PAUSE_MS
} from '../../bounds/limits.ts'
import { type Channel, isPersonal, userChannel } from '../../log/channel.ts'
import type { MarkOp } from '../../log/event.ts'
import type { Counts, Recipients } from '../../log/notification.ts'
import type {
  CursorStatus,
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
  StoredNotification,
  TicketHolder
} from '../../log/store.ts'
import { isFenced } from '../fences.ts'
import { StoreOpenError } from '../store-open-error.ts'
import type { StoreLog, StoreOptions } from '../store-options.ts'
import { connectRedis, type RedisClients } from './client.ts'
import { decodeEvents, decodeItems } from './entries.ts'
import { type RedisKeys, redisKeys } from './keys.ts'
import { storeErrorOf } from './redis-errors.ts'
import { RedisLog } from './redis-log.ts'
import { inspectServer, type ServerReport } from './server-checks.ts'
import type { ShardPublication } from './shard-publication.ts'
import { WriteQueue } from './write-queue.ts'

const HOUR_MS = 60 * 60 * 1000
const DAY_MS = 24 * HOUR_MS
/** What a shard needs to know; the config has checked that there is an address. */
export type RedisShardOptions = StoreOptions & { readonly redisUrl: string }

const SILENT: StoreLog = { trouble: () => {}, warning: () => {} }

/** One log in Redis, which many processes share, each following it. Has its own connections, so that none waits for another's server. */
export class RedisShard implements Log {
  readonly #clients: RedisClients
  readonly #keys: RedisKeys
  readonly #log: RedisLog
  readonly #queue: WriteQueue
  readonly #days: number
  readonly #logs: StoreLog
  #report: ServerReport | undefined
  #listener: Follower = () => {}
  #sweeper: NodeJS.Timeout | undefined
  #sweepAt = Number.POSITIVE_INFINITY
  readonly #hourly: NodeJS.Timeout
  readonly #inspector: NodeJS.Timeout
  #closed: Promise<void> | undefined

  private constructor(
    clients: RedisClients,
    keys: RedisKeys,
    options: RedisShardOptions,
    first: RedisShard | undefined
  ) {
    const { retentionDays, retentionPerChannel, onCommit } = options
    this.#clients = clients
    this.#keys = keys
    this.#days = retentionDays
    this.#logs = options.log ?? SILENT
    this.#log = new RedisLog(clients, {
      keys,
      retentionPerChannel,
      // Marks may be a little older than the newest entry that they are for.
      marksMs: retentionDays === 0 ? 0 : (retentionDays + 2) * DAY_MS,
      waitReplicas: options.redisWaitReplicas,
      shards: options.redisShards,
      first: first === undefined ? undefined : first.#log
    })
    this.#log.onEvents = (events) => {
      this.#listener(events, this)
      this.#arrange()
    }
    this.#log.onRefused = (reason) => this.#logs.trouble(`Redis: ${reason}`)
    this.#queue = new WriteQueue(this.#log, (ms) => onCommit?.(ms))
    this.#hourly = setInterval(() => void this.#age(), HOUR_MS).unref()
    this.#inspector = setInterval(() => void this.#inspect(), REDIS_INSPECT_MS).unref()
    clients.commands.on('ready', () => void this.#inspect())
  }

  /**
   * Connects, and waits a moment for Redis to answer: one that is away now is found when it comes. `first` is the shard with the index 0,
   * undefined for itself.
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
    const { trouble, refused } = shard.#log
    if (refused !== null) {
      await shard.close()
      const way = 'set it as it was, or export the log and import it under another REDIS_PREFIX'
      throw new StoreOpenError(`${refused}: users would be looked for where they are not; ${way}`)
    }
    if (trouble === null) await Promise.all([shard.#inspect(), shard.#age()])
    return shard
  }

  get epoch(): string {
    return this.#log.epoch
  }

  get head(): number {
    return this.#log.head
  }

  cursorStatus(epoch: string, seq: number): CursorStatus {
    if (epoch !== this.epoch) return 'foreign'
    return seq > this.head || isFenced(seq, this.#log.fences) ? 'undone' : 'held'
  }

  follow(listener: Follower): void {
    this.#listener = listener
  }

  catchUp(): Promise<void> {
    return this.#log.pull()
  }

  publish(items: readonly ShardPublication[]): Promise<readonly PublishOutcome[]> {
    return this.#queue.publish(items)
  }

  async notification(id: string): Promise<StoredNotification | null> {
    const found = (await this.#log.read('getNotification', [id, ''])) as readonly string[]
    return found.length === 0 ? null : storedOf(id, found)
  }

  async details(id: string): Promise<NotificationDetails | null> {
    const found = (await this.#log.read('getNotification', [id, '1'])) as readonly string[]
    if (found.length === 0) return null
    const entries: { channel: Channel; seq: number; epoch: string }[] = []
    for (let k = 8; k < found.length; k += 2)
      entries.push({ channel: found[k] as Channel, seq: Number(found[k + 1]), epoch: this.epoch })
    const readers = { seen: Number(found[5]), read: Number(found[6]), archived: Number(found[7]) }
    return { ...storedOf(id, found), entries, readers }
  }

  async recall(id: string): Promise<boolean> {
    return (await this.#queue.turn(() => this.#log.write('recall', [id])))[1] === 1
  }

  async mark(user: string, op: MarkOp, target: MarkTarget): Promise<MarkOutcome> {
    const byIds = 'ids' in target
    const which = byIds ? await this.#places(user, target) : target.scope
    for (let progress = '1 - 0'; ; ) {
      const args = [user, op, byIds ? '' : String(target.upTo), progress, ...which]
      const call = () => this.#log.write('mark', args)
      // Most are short: only what goes on waits for turns.
      const [, affected, seq, rest] = await (progress === '1 - 0' ? call() : this.#queue.turn(call))
      if (rest === undefined) return { affected: affected as number, seq: seq as number }
      progress = rest as string
    }
  }

  async erase(user: string): Promise<void> {
    while ((await this.#queue.turn(() => this.#log.write('erase', [user])))[1] === 1);
  }

  async read(
    user: string,
    scope: readonly Channel[],
    after: number,
    limit: number
  ): Promise<LogPage | LogGap> {
    const args = [user, String(after), String(limit), String(MAX_PAGE_BYTES), ...scope]
    const answer = (await this.#log.read('read', args)) as readonly string[]
    if (answer.length === 0) return { gap: true }
    const counts = { unread: Number(answer[3]), unseen: Number(answer[4]) }
    const [upTo, more, , , recount] = answer.slice(1, 6).map(Number)
    return {
      events: decodeEvents(answer, 6),
      upTo: upTo!,
      more: more === 1,
      counts,
      recount: recount === 1
    }
  }

  async inbox(
    user: string,
    scope: readonly Channel[],
    query: { status: InboxStatus; limit: number; before?: number | undefined }
  ): Promise<InboxPage> {
    const before = query.before === undefined ? '' : String(query.before)
    const answer = (await this.#log.read('inbox', [
      user,
      query.status,
      String(query.limit),
      before,
      ...scope
    ])) as readonly string[]
    const counts = { unread: Number(answer[3]), unseen: Number(answer[4]) }
    return {
      items: decodeItems(answer, 5),
      counts,
      head: Number(answer[1]),
      more: Number(answer[2]) === 1
    }
  }

  async counts(user: string, scope: readonly Channel[]): Promise<Counts> {
    const [, unread, unseen] = (await this.#log.read('counts', [user, ...scope])) as [
      string,
      number,
      number
    ]
    return { unread, unseen }
  }

  async putTicket(hash: string, holder: TicketHolder, expiresAt: number): Promise<void> {
    await this.#log.write('putTicket', [
      hash,
      holder.user,
      JSON.stringify(holder.topics),
      String(expiresAt)
    ])
  }

  async takeTicket(
    hash: string,
    { keep = false }: { keep?: boolean } = {}
  ): Promise<TicketHolder | null> {
    const answer = keep
      ? await this.#log.read('takeTicket', [hash, '1'])
      : await this.#log.write('takeTicket', [hash, ''])
    const [, user, topics] = answer as readonly (string | undefined)[]
    return user === undefined ? null : { user, topics: JSON.parse(topics ?? '[]') as string[] }
  }

  async revoke(user: string): Promise<void> {
    await this.#log.write('revoke', [user])
  }

  async revokedAt(user: string): Promise<number> {
    return Number((await this.#log.read('revokedAt', [user])) ?? 0)
  }

  get oldest(): number {
    return this.#log.floor
  }

  get healthy(): boolean {
    return this.#log.reason === null
  }

  /** Why not everything works; null where it does. */
  get reason(): string | null {
    return this.#log.reason
  }

  /** See {@link RedisLog.misfit}. */
  get misfit(): string | null {
    return this.#log.misfit
  }

  /** What the server said of itself when it was last asked. */
  get report(): ServerReport | undefined {
    return this.#report
  }

  /** See {@link Store.abandon}. */
  abandon(): void {
    this.#queue.abandon()
  }

  close(): Promise<void> {
    this.#closed ??= this.#end()
    return this.#closed
  }

  async #end(): Promise<void> {
    clearTimeout(this.#sweeper)
    clearInterval(this.#hourly)
    clearInterval(this.#inspector)
    await this.#queue.idle()
    this.#log.close()
  }

  /** The channels in which the user may mark these ids, as channel, id, channel, id …. */
  async #places(
    user: string,
    { ids, allows }: Extract<MarkTarget, { ids: readonly string[] }>
  ): Promise<string[]> {
    if (ids.length === 0) return []
    const channels = (await this.#log.read('findChannels', [user, ...ids])) as readonly (
      | Channel
      | ''
    )[]
    return ids.flatMap((id, k) => {
      const channel = channels[k]
      if (channel === undefined || channel === '') return []
      return channel === userChannel(user) || (!isPersonal(channel) && allows(channel))
        ? [channel, id]
        : []
    })
  }

  /** Takes care that what expires next is taken out, and told, when it does. */
  #arrange(): void {
    const { soonest } = this.#log
    if (this.#closed || soonest === this.#sweepAt) return
    this.#sweepAt = soonest
    clearTimeout(this.#sweeper)
    if (soonest === Number.POSITIVE_INFINITY) return
    const wait = Math.min(Math.max(soonest - Date.now(), 0), MAX_TIMER_MS)
    this.#sweeper = setTimeout(() => void this.#sweep(''), wait).unref()
  }

  /** True where there is more to do. */
  async #sweep(tooOld: string): Promise<boolean> {
    try {
      const [, soonest, more, floor] = await this.#log.write('sweep', [tooOld])
      this.#log.floor = Number(floor)
      // Another clock than Redis' may be ahead: not again and again within a millisecond.
      this.#log.soonest =
        soonest === ''
          ? Number.POSITIVE_INFINITY
          : Math.max(Number(soonest), Date.now() + REDIS_SWEEP_PAUSE_MS)
      return more === 1
    } catch (error) {
      this.#failed('expiry and retention', error)
      this.#log.soonest = Math.max(this.#log.soonest, Date.now() + 1000)
      return false
    } finally {
      this.#sweepAt = Number.POSITIVE_INFINITY
      this.#arrange()
    }
  }

  /** Takes out what is older than retention. */
  async #age(): Promise<void> {
    while (
      this.#closed === undefined &&
      (await this.#sweep(this.#days === 0 ? '' : String(Date.now() - this.#days * DAY_MS)))
    );
  }

  /** Looks at what the server is set up for. */
  async #inspect(): Promise<void> {
    if (this.#closed || this.#log.trouble !== null) return
    try {
      const report = await inspectServer(this.#clients.reads, this.#keys.state)
      for (const warning of report.warnings) this.#logs.warning(warning)
      this.#report = report
    } catch (error) {
      this.#failed('the checks of the server', error)
    }
  }

  #failed(what: string, error: unknown): void {
    const known = storeErrorOf(error)
    if (!this.#closed)
      this.#logs.trouble(
        `Redis (${what}): ${known instanceof Error ? known.message : String(known)}`
      )
  }
}

function storedOf(id: string, found: readonly string[]): StoredNotification {
  const [to = '', content = '', createdAt, expiresAt = '', producer = ''] = found
  return {
    id,
    to: JSON.parse(to) as Recipients,
    content,
    createdAt: Number(createdAt),
    producer,
    ...(expiresAt === '' ? {} : { expiresAt: Number(expiresAt) })
  }
}
