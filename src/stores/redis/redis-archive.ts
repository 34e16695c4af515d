import { randomBytes } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'
import { LEASE_MS, REDIS_CALL_LIMIT, REDIS_COMMAND_TIMEOUT_MS } from '../../bounds/limits.ts'
import {
  type ArchivedNote,
  ArchiveFault,
  type ArchiveRecord,
  type ArchiveSource,
  type ArchiveTarget
} from '../../log/archive.ts'
import { type Channel, channelsOf, isPersonal } from '../../log/channel.ts'
import type { Recipients } from '../../log/notification.ts'
import { StoreOpenError } from '../store-open-error.ts'
import { connectRedis, isReady, type RedisClients } from './client.ts'
import { redisKeys } from './keys.ts'
import { RedisMisfit } from './redis-errors.ts'
import { SCRIPTS } from './scripts.ts'
import { checkAddress } from './server-checks.ts'
import { channelsByShard, interleaved, shardOf } from './sharding.ts'

export interface RedisArchiveOptions {
  readonly redisUrl: string
  readonly redisPrefix: string
  readonly redisShards: number
  readonly retentionDays: number
}

/** Keys, or notifications, asked for at a time. */
const PAGE = 500
const DAY_MS = 24 * 60 * 60 * 1000

/** One entry of one channel: where it lies decides the order of everything. */
interface Place {
  readonly place: number
  readonly channel: Channel
  readonly id: string
  readonly times: number
  readonly replaces: string
}

/** What reading and filling have in common: a connection, the names of the keys, and who else is there. */
class ArchiveRedis {
  readonly clients: RedisClients
  /** What all keys of each shard begin with; see `prelude-log.lua`. */
  readonly bases: readonly string[]
  readonly prefix: string

  private constructor(clients: RedisClients, prefix: string, shards: number) {
    this.clients = clients
    this.prefix = prefix
    this.bases = Array.from({ length: shards }, (_, shard) =>
      redisKeys(prefix, shard).state.slice(0, -'state'.length)
    )
  }

  static async connect({
    redisUrl,
    redisPrefix,
    redisShards
  }: RedisArchiveOptions): Promise<ArchiveRedis> {
    let trouble = 'it does not answer'
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
      throw error instanceof RedisMisfit ? new StoreOpenError(error.message) : error
    })
    const redis = new ArchiveRedis(clients, redisPrefix, redisShards)
    const begun = (await clients.reads.hmget(`${redis.bases[0]}state`, 'epoch', 'shards')) as (
      | string
      | null
    )[]
    if (begun[0] === null || Number(begun[1] ?? 1) === redisShards) return redis
    clients.close()
    throw new StoreOpenError(`the log was begun with REDIS_SHARDS=${begun[1] ?? 1}: set it to that`)
  }

  /** Names of the nodes that serve this log now. */
  async nodes(): Promise<string[]> {
    const [seconds] = await this.clients.reads.time()
    return this.clients.reads.zrangebyscore(
      `${this.prefix}:{nodes}:seen`,
      Number(seconds) * 1000 - LEASE_MS,
      '+inf'
    )
  }

  /** Keys of a shard whose name goes on with `kind`, some at a time, without the beginning. */
  async *keys(base: string, kind: string): AsyncGenerator<string[]> {
    const { reads } = this.clients
    const servers =
      this.clients.kind === 'cluster' ? (reads as Cluster).nodes('master') : [reads as Redis]
    const start = base.length + kind.length
    for (const server of servers) {
      let cursor = '0'
      do {
        const [next, keys] = await server.scan(cursor, 'MATCH', `${base}${kind}*`, 'COUNT', PAGE)
        cursor = next
        if (keys.length > 0) yield keys.map((key) => key.slice(start))
      } while (cursor !== '0')
    }
  }

  /** Runs commands together; rejects with the first failure. */
  async all(commands: readonly (readonly [name: string, ...args: string[]])[]): Promise<unknown[]> {
    const results =
      (await this.clients.reads.pipeline(commands.map((command) => [...command])).exec()) ?? []
    return results.map(([error, result]) => {
      if (error) throw error
      return result
    })
  }
}

/**
 * Reads the log of a Redis. It is read key by key: while nodes serve it, what changes meanwhile may be there or not. All places, a
 * hundred bytes or so each, are held in memory, since only together do they tell the order.
 */
export class RedisArchiveSource implements ArchiveSource {
  readonly notice: string | undefined
  readonly #redis: ArchiveRedis
  readonly #now = Date.now()

  private constructor(redis: ArchiveRedis, notice: string | undefined) {
    this.#redis = redis
    this.notice = notice
  }

  /** Rejects with {@link StoreOpenError}. */
  static async open(options: RedisArchiveOptions): Promise<RedisArchiveSource> {
    const redis = await ArchiveRedis.connect(options)
    const nodes = await redis.nodes()
    const notice = `${nodes.join(', ')} ${nodes.length > 1 ? 'are' : 'is'} running: what changes while this reads may be missing`
    return new RedisArchiveSource(redis, nodes.length > 0 ? notice : undefined)
  }

  async *records(): AsyncGenerator<ArchiveRecord> {
    const { bases } = this.#redis
    const shards = await Promise.all(bases.map((base) => this.#places(base)))
    const byId = new Map<string, { readonly shard: number; readonly places: Place[] }>()
    const lists = shards.map((places) => [...new Set(places.map(({ id }) => id))])
    shards.forEach((places, shard) => {
      for (const place of places) {
        const known = byId.get(place.id)
        if (!known) byId.set(place.id, { shard, places: [place] })
        // What lies in every shard is told once.
        else if (!known.places.some(({ channel }) => channel === place.channel))
          known.places.push(place)
      }
    })
    const outdone = await this.#outdone(shards, lists)
    const kept = new Set<string>()
    for (const all of slices(interleaved(lists))) {
      const part = all.filter((id) => !outdone.has(id))
      const found = new Map<string, (string | null)[]>()
      for (const [shard, base] of bases.entries()) {
        const own = part.filter((id) => byId.get(id)!.shard === shard)
        const fields = await this.#redis.all(
          own.map((id) => [
            'hmget',
            `${base}n:${id}`,
            'to',
            'content',
            'createdAt',
            'expiresAt',
            'key',
            'producer'
          ])
        )
        own.forEach((id, k) => {
          found.set(id, fields[k] as (string | null)[])
        })
      }
      for (const id of part) {
        const note = noteOf(id, byId.get(id)!.places, found.get(id)!)
        if (!note || (note.expiresAt !== undefined && note.expiresAt <= this.#now)) continue
        kept.add(id)
        yield note
      }
    }
    for (const [shard, base] of bases.entries()) {
      const ids = idsByPlace(shards[shard]!)
      yield* this.#marks(base, (channel, place) => {
        const id = ids.get(`${channel} ${place}`)
        return id !== undefined && kept.has(id) ? id : undefined
      })
      yield* this.#idempotencyKeys(base)
      const [revocations] = (await this.#redis.all([['hgetall', `${base}z:`]])) as [
        Record<string, string>
      ]
      for (const [user, at] of Object.entries(revocations))
        yield { kind: 'revocation', user, at: Number(at) }
    }
  }

  async close(): Promise<void> {
    this.#redis.clients.close()
  }

  async #places(base: string): Promise<Place[]> {
    const places = new Map<string, Place>()
    for await (const channels of this.#redis.keys(base, 'l:')) {
      const lists = await this.#redis.all(
        channels.map((channel) => ['hgetall', `${base}l:${channel}`])
      )
      for (const [k, channel] of channels.entries()) {
        for (const [place, text] of Object.entries(lists[k] as Record<string, string>)) {
          const [id = '', times, replaces = ''] = text.split(' ')
          // SCAN may give a key twice.
          places.set(`${channel} ${place}`, {
            place: Number(place),
            channel: channel as Channel,
            id,
            times: Number(times),
            replaces
          })
        }
      }
    }
    return [...places.values()].sort((a, b) => a.place - b.place)
  }

  /**
   * Notifications that another with the same collapse key took the place of, though not in every shard: two that came at once may have
   * come in another order there, and one that was away may have missed the later. The last in the order of all of them stays.
   */
  async #outdone(
    shards: readonly (readonly Place[])[],
    lists: readonly (readonly string[])[]
  ): Promise<ReadonlySet<string>> {
    if (shards.length === 1) return new Set()
    const holders = new Map<string, Set<string>>()
    for (const [shard, base] of this.#redis.bases.entries()) {
      const ids = idsByPlace(shards[shard]!)
      for await (const names of this.#redis.keys(base, 'k:')) {
        const channels = names.filter((name) => !isPersonal(name as Channel))
        const found = await this.#redis.all(
          channels.map((channel) => ['hgetall', `${base}k:${channel}`])
        )
        for (const [k, channel] of channels.entries()) {
          for (const [key, place] of Object.entries(found[k] as Record<string, string>)) {
            const id = ids.get(`${channel} ${place}`)
            const name = `${channel} ${key}`
            if (id !== undefined) holders.set(name, (holders.get(name) ?? new Set()).add(id))
          }
        }
      }
    }
    const rivals = [...holders.values()].filter((ids) => ids.size > 1)
    if (rivals.length === 0) return new Set()
    const order = new Map([...interleaved(lists)].map((id, k) => [id, k]))
    return new Set(
      rivals.flatMap((ids) => [...ids].sort((a, b) => order.get(a)! - order.get(b)!).slice(0, -1))
    )
  }

  async *#marks(
    base: string,
    idAt: (channel: string, place: string) => string | undefined
  ): AsyncGenerator<ArchiveRecord> {
    const done = new Set<string>()
    for await (const names of this.#redis.keys(base, 'm:')) {
      const found = await this.#redis.all(names.map((name) => ['hgetall', `${base}m:${name}`]))
      for (const [k, name] of names.entries()) {
        if (done.has(name)) continue
        done.add(name)
        const [user = '', channel = ''] = name.split(' ')
        for (const [place, mark] of Object.entries(found[k] as Record<string, string>)) {
          const id = idAt(channel, place)
          if (id === undefined) continue
          const [readAt, archived] = mark.split(' ')
          yield {
            kind: 'mark',
            user,
            id,
            readAt: readAt === '-' ? null : Number(readAt),
            archived: archived === '1'
          }
        }
      }
    }
  }

  async *#idempotencyKeys(base: string): AsyncGenerator<ArchiveRecord> {
    for await (const keys of this.#redis.keys(base, 'y:')) {
      const values = (await this.#redis.all(keys.map((key) => ['get', `${base}y:${key}`]))) as (
        | string
        | null
      )[]
      const left = (await this.#redis.all(
        keys.map((key) => ['pttl', `${base}y:${key}`])
      )) as number[]
      for (const [k, key] of keys.entries()) {
        const [fingerprint, id, createdAt] = values[k]?.split(' ') ?? []
        if (fingerprint === undefined || id === undefined || left[k]! <= 0) continue
        // By which a shard has taken what lies in several, see `RedisStore.publish`.
        if (key === id) continue
        yield {
          kind: 'idempotency-key',
          key,
          fingerprint,
          id,
          createdAt: Number(createdAt),
          expiresAt: this.#now + left[k]!
        }
      }
    }
  }
}

const idsByPlace = (places: readonly Place[]): ReadonlyMap<string, string> =>
  new Map(places.map(({ channel, place, id }) => [`${channel} ${place}`, id]))

function noteOf(
  id: string,
  own: readonly Place[],
  fields: readonly (string | null)[]
): ArchivedNote | undefined {
  const [to, content, createdAt, expiresAt, key, producer] = fields
  // Removed since its places were read.
  if (to == null || content == null) return undefined
  const recipients = JSON.parse(to) as Recipients
  const order = channelsOf(recipients)
  const places = [...own].sort((a, b) => order.indexOf(a.channel) - order.indexOf(b.channel))
  return {
    kind: 'notification',
    id,
    to: recipients,
    content,
    key: key ?? undefined,
    createdAt: Number(createdAt),
    ...(expiresAt == null ? {} : { expiresAt: Number(expiresAt) }),
    producer: producer ?? '',
    places: places.map(({ channel, times, replaces }) => ({
      channel,
      times,
      ...(replaces === '' ? {} : { replaces })
    }))
  }
}

/** Fills an empty log that no node serves. What was loaded is taken out again where it is not committed, unless the process is killed. */
export class RedisArchiveTarget implements ArchiveTarget {
  readonly #redis: ArchiveRedis
  /** The keys and arguments that all scripts take, of each shard. */
  readonly #args: readonly (readonly string[])[]
  readonly #now = Date.now()
  #committed = false
  #open = true

  private constructor(redis: ArchiveRedis, args: readonly (readonly string[])[]) {
    this.#redis = redis
    this.#args = args
  }

  /** Rejects with {@link StoreOpenError}: where the log is not empty, or a node serves it. */
  static async open(options: RedisArchiveOptions): Promise<RedisArchiveTarget> {
    const redis = await ArchiveRedis.connect(options)
    try {
      const nodes = await redis.nodes()
      if (nodes.length > 0) {
        throw new StoreOpenError(
          `${nodes.join(', ')} ${nodes.length > 1 ? 'are' : 'is'} running: stop all nodes, wait 20 s after a crash, and import again`
        )
      }
      const marksMs = options.retentionDays === 0 ? 0 : (options.retentionDays + 2) * DAY_MS
      const wakeCommand = redis.clients.kind === 'cluster' ? 'SPUBLISH' : 'PUBLISH'
      for (const base of redis.bases) {
        const seq = await redis.clients.commands.hget(`${base}state`, 'seq')
        if (Number(seq ?? 0) > 0) {
          throw new StoreOpenError(
            `Redis already holds a log under ${options.redisPrefix}: set REDIS_PREFIX to another name, or delete the keys ${base}*`
          )
        }
      }
      const shards: string[][] = []
      for (const shard of redis.bases.keys()) {
        const { state, log, wake } = redisKeys(options.redisPrefix, shard)
        const args = (epoch: string): string[] => [
          state,
          log,
          epoch,
          '0',
          String(marksMs),
          wakeCommand,
          wake
        ]
        const fresh = `r${randomBytes(5).toString('hex').slice(0, 9)}`
        const opening = [...args(''), fresh, '', String(options.redisShards), '1']
        const answer = (await SCRIPTS.open.run(redis.clients.commands, opening)) as [string, string]
        shards.push(args(answer[1]))
      }
      return new RedisArchiveTarget(redis, shards)
    } catch (error) {
      redis.clients.close()
      throw error
    }
  }

  async load(records: readonly ArchiveRecord[]): Promise<void> {
    for (const [shard, args] of this.#args.entries()) await this.#loadInto(shard, args, records)
  }

  async #loadInto(
    shard: number,
    args: readonly string[],
    records: readonly ArchiveRecord[]
  ): Promise<void> {
    let batch: string[] = []
    let bytes = 0
    let entries = 0
    // Which records the script counts: those that are not for this shard, or whose time is over, are left out.
    let sent: number[] = []
    const send = async (): Promise<void> => {
      if (batch.length === 0) return
      const answer = (await SCRIPTS.import.run(this.#redis.clients.commands, [
        ...args,
        ...batch
      ])) as [string, number?, string?]
      const [, at, why] = answer
      if (at !== undefined) throw new ArchiveFault(sent[at] ?? 0, why ?? '')
      batch = []
      bytes = 0
      entries = 0
      sent = []
    }
    for (const [index, record] of records.entries()) {
      for (const encoded of encode(record, shard, this.#args.length, this.#now)) {
        const size = encoded.reduce((sum, value) => sum + value.length, 0)
        const weight = record.kind === 'notification' ? record.places.length : 1
        // Lua unpacks no more than some thousand values at once, and Redis does nothing else meanwhile.
        if (sent.length > 0 && (bytes + size > REDIS_CALL_LIMIT.bytes || entries + weight > PAGE))
          await send()
        batch.push(...encoded)
        bytes += size
        entries += weight
        sent.push(index)
      }
    }
    await send()
  }

  async commit(): Promise<void> {
    this.#committed = true
  }

  async close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    try {
      if (!this.#committed) {
        for (const base of this.#redis.bases) {
          for await (const names of this.#redis.keys(base, '')) {
            await this.#redis.clients.commands.unlink(...names.map((name) => `${base}${name}`))
          }
        }
      }
    } finally {
      this.#redis.clients.close()
    }
  }
}

/** As `import-2.lua` takes it; nothing where it is not for this shard, or its time is over. */
function encode(record: ArchiveRecord, shard: number, shards: number, now: number): string[][] {
  switch (record.kind) {
    case 'notification': {
      const { id, to, content, key = '', createdAt, expiresAt, producer } = record
      const mine = channelsByShard(
        record.places.map(({ channel }) => channel),
        shards
      ).get(shard)
      if (mine === undefined) return []
      const channels = new Set(mine)
      const places = record.places.filter(({ channel }) => channels.has(channel))
      const expiry = expiresAt === undefined ? '' : String(expiresAt)
      const head = [
        'n',
        id,
        JSON.stringify(to),
        content,
        key,
        String(createdAt),
        expiry,
        producer,
        String(places.length)
      ]
      return [
        [
          ...head,
          ...places.flatMap(({ channel, times, replaces = '' }) => [
            channel,
            String(times),
            replaces
          ])
        ]
      ]
    }
    case 'mark':
      if (shardOf(record.user, shards) !== shard) return []
      return [['m', record.user, record.id, `${record.readAt ?? '-'} ${record.archived ? 1 : 0}`]]
    case 'idempotency-key': {
      const { key, fingerprint, id, createdAt, expiresAt } = record
      if (expiresAt <= now) return []
      // What it was used for may be gone, and may have lain in any shard: none takes it again.
      const names = [...(shardOf(key, shards) === shard ? [key] : []), ...(shards > 1 ? [id] : [])]
      return names.map((name) => [
        'y',
        name,
        `${fingerprint} ${id} ${createdAt}`,
        String(expiresAt - now)
      ])
    }
    case 'revocation':
      if (shardOf(record.user, shards) !== shard) return []
      return [['z', record.user, String(record.at)]]
  }
}

function* slices<T>(list: Iterable<T>): Generator<T[]> {
  let slice: T[] = []
  for (const one of list) {
    if (slice.push(one) < PAGE) continue
    yield slice
    slice = []
  }
  if (slice.length > 0) yield slice
}
