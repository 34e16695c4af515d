import type { ArchivedNote, ArchiveRecord, ArchiveSource } from '../../log/archive.ts'
import { type Channel, channelsOf, isPersonal } from '../../log/channel.ts'
import { ARCHIVE_PAGE, ArchiveConnection, type RedisArchiveOptions } from './archive-connection.ts'
import { marksOf, recipientsOf } from './decode.ts'
import type { RedisKeys } from './keys.ts'
import { channelOf, hashOf, listOf, momentOr, numberOf, textOf } from './replies.ts'
import { interleaved } from './sharding.ts'

/** One entry of one channel. The order of the seqs is the order of everything. */
interface ArchivedEntry {
  readonly seq: number
  readonly channel: Channel
  readonly id: string
  readonly times: number
  readonly replaces: string
}

/** The entries of one shard, in the order of its log. */
interface ShardEntries {
  readonly keys: RedisKeys
  readonly entries: readonly ArchivedEntry[]
  /** Ids in the order of their first entry. */
  readonly ids: readonly string[]
  /** Ids, keyed by `<channel> <seq>`. */
  readonly idAt: ReadonlyMap<string, string>
}

/**
 * A notification: the first shard that has it, and its entries in all shards, one for each channel.
 */
interface Located {
  readonly shard: ShardEntries
  readonly entries: ArchivedEntry[]
}

const NOTIFICATION_FIELDS = ['to', 'content', 'createdAt', 'expiresAt', 'key', 'producer']

/**
 * Exports the log in a Redis, key by key: changes that nodes make meanwhile may be missing. It
 * holds all entries in memory, about a hundred bytes each, because only together do they show the
 * order.
 */
export class RedisArchiveSource implements ArchiveSource {
  readonly notice: string | undefined
  readonly #redis: ArchiveConnection
  readonly #now = Date.now()

  private constructor(redis: ArchiveConnection, notice: string | undefined) {
    this.#redis = redis
    this.notice = notice
  }

  /** Rejects with {@link StoreOpenError}. */
  static async open(options: RedisArchiveOptions): Promise<RedisArchiveSource> {
    const redis = await ArchiveConnection.open(options)
    const running = await redis.runningNodes()
    const notice = running === null ? undefined : `${running}: the export may miss what changes now`
    return new RedisArchiveSource(redis, notice)
  }

  async *records(): AsyncGenerator<ArchiveRecord> {
    const shards = await Promise.all(this.#redis.shards.map((keys) => this.#entriesOf(keys)))
    const exported = new Set<string>()
    for await (const note of this.#notifications(shards)) {
      exported.add(note.id)
      yield note
    }
    for (const shard of shards) {
      yield* this.#marks(shard, exported)
      yield* this.#idempotencyKeys(shard)
      const [revocations] = await this.#redis.each('hgetall', [`${shard.keys.base}z:`])
      for (const [user, at] of hashOf(revocations))
        yield { kind: 'revocation', user, at: Number(at) }
    }
  }

  async close(): Promise<void> {
    this.#redis.clients.close()
  }

  async #entriesOf(keys: RedisKeys): Promise<ShardEntries> {
    const found = new Map<string, ArchivedEntry>()
    for await (const [channel, hash] of this.#hashes(keys, 'l:')) {
      for (const [seq, text] of hash) {
        const [id = '', times, replaces = ''] = text.split(' ')
        const entry = { seq: Number(seq), channel: channelOf(channel), id, replaces }
        found.set(`${channel} ${seq}`, { ...entry, times: Number(times) })
      }
    }
    const entries = [...found.values()].sort((a, b) => a.seq - b.seq)
    const ids = [...new Set(entries.map(({ id }) => id))]
    const idAt = new Map(entries.map(({ channel, seq, id }) => [`${channel} ${seq}`, id]))
    return { keys, entries, ids, idAt }
  }

  async *#notifications(shards: readonly ShardEntries[]): AsyncGenerator<ArchivedNote> {
    const located = locate(shards)
    const superseded = await this.#superseded(shards)
    const order = interleaved(shards.map(({ ids }) => ids))
    for (const page of pages(order)) {
      const ids = page.filter((id) => !superseded.has(id))
      const notes = new Map<string, ArchivedNote>()
      for (const shard of shards) {
        const own = ids.filter((id) => located.get(id)?.shard === shard)
        const keys = own.map((id) => `${shard.keys.base}n:${id}`)
        const found = await this.#redis.each('hmget', keys, ...NOTIFICATION_FIELDS)
        for (const [index, id] of own.entries()) {
          const note = noteOf(id, located.get(id)?.entries ?? [], listOf(found[index]))
          if (note) notes.set(id, note)
        }
      }
      for (const id of ids) {
        const note = notes.get(id)
        if (note && (note.expiresAt === undefined || note.expiresAt > this.#now)) yield note
      }
    }
  }

  /**
   * Notifications that another with the same collapse key replaced in some shards only: two that
   * were published at once may be in another order there, and a shard that was away may have missed
   * the later. The last in the order of all shards stays.
   */
  async #superseded(shards: readonly ShardEntries[]): Promise<ReadonlySet<string>> {
    if (shards.length === 1) return new Set()
    const holders = new Map<string, Set<string>>()
    for (const { keys, idAt } of shards) {
      for await (const [channel, hash] of this.#hashes(keys, 'k:')) {
        if (isPersonal(channelOf(channel))) continue
        for (const [key, seq] of hash) {
          const id = idAt.get(`${channel} ${seq}`)
          const name = `${channel} ${key}`
          if (id !== undefined) holders.set(name, (holders.get(name) ?? new Set()).add(id))
        }
      }
    }
    const rivals = [...holders.values()].filter((ids) => ids.size > 1)
    if (rivals.length === 0) return new Set()
    const all = [...interleaved(shards.map(({ ids }) => ids))]
    const rank = new Map(all.map((id, index) => [id, index]))
    const byRank = (a: string, b: string): number => (rank.get(a) ?? 0) - (rank.get(b) ?? 0)
    return new Set(rivals.flatMap((ids) => [...ids].sort(byRank).slice(0, -1)))
  }

  async *#marks(
    { keys, idAt }: ShardEntries,
    exported: ReadonlySet<string>
  ): AsyncGenerator<ArchiveRecord> {
    const done = new Set<string>()
    for await (const [name, hash] of this.#hashes(keys, 'm:')) {
      if (done.has(name)) continue
      done.add(name)
      const [user = '', channel = ''] = name.split(' ')
      for (const [seq, text] of hash) {
        const id = idAt.get(`${channel} ${seq}`)
        if (id === undefined || !exported.has(id)) continue
        const { readAt, archived } = marksOf(text)
        yield { kind: 'mark', user, id, readAt, archived }
      }
    }
  }

  async *#idempotencyKeys({ keys: { base } }: ShardEntries): AsyncGenerator<ArchiveRecord> {
    for await (const keys of this.#redis.keys(base, 'y:')) {
      const names = keys.map((key) => `${base}y:${key}`)
      const values = await this.#redis.each('get', names)
      const left = await this.#redis.each('pttl', names)
      for (const [index, key] of keys.entries()) {
        const [fingerprint, id, createdAt] = textOf(values[index]).split(' ')
        const leftMs = numberOf(left[index])
        if (fingerprint === undefined || id === undefined || leftMs <= 0) continue
        // A shard's own note that it took an event for several shards; see `publish-to-shards.ts`.
        if (key === id) continue
        const expiresAt = this.#now + leftMs
        const times = { createdAt: Number(createdAt), expiresAt }
        yield { kind: 'idempotency-key', key, fingerprint, id, ...times }
      }
    }
  }

  /** The hashes whose keys start with `kind`, by the rest of their keys. One may come twice. */
  async *#hashes(
    { base }: RedisKeys,
    kind: string
  ): AsyncGenerator<readonly [name: string, hash: ReadonlyMap<string, string>]> {
    for await (const names of this.#redis.keys(base, kind)) {
      const found = await this.#redis.each(
        'hgetall',
        names.map((name) => `${base}${kind}${name}`)
      )
      for (const [index, name] of names.entries()) yield [name, hashOf(found[index])]
    }
  }
}

/** Every notification by its id. What is in every shard counts once. */
function locate(shards: readonly ShardEntries[]): ReadonlyMap<string, Located> {
  const located = new Map<string, Located>()
  for (const shard of shards) {
    for (const entry of shard.entries) {
      const known = located.get(entry.id)
      if (!known) located.set(entry.id, { shard, entries: [entry] })
      else if (!known.entries.some(({ channel }) => channel === entry.channel))
        known.entries.push(entry)
    }
  }
  return located
}

/**
 * `fields` are those of {@link NOTIFICATION_FIELDS}. Undefined if the notification was removed
 * meanwhile.
 */
function noteOf(
  id: string,
  entries: readonly ArchivedEntry[],
  fields: readonly unknown[]
): ArchivedNote | undefined {
  const [to, content, createdAt, expiry, key, producer] = fields
  if (to === null || content === null) return undefined
  const recipients = recipientsOf(textOf(to))
  const order = channelsOf(recipients)
  const sorted = entries.toSorted((a, b) => order.indexOf(a.channel) - order.indexOf(b.channel))
  const expiresAt = momentOr(undefined, expiry)
  return {
    kind: 'notification',
    id,
    to: recipients,
    content: textOf(content),
    key: key === null ? undefined : textOf(key),
    createdAt: Number(createdAt),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    producer: textOf(producer),
    places: sorted.map(({ channel, times, replaces }) => ({
      channel,
      times,
      ...(replaces === '' ? {} : { replaces })
    }))
  }
}

function* pages<T>(list: Iterable<T>): Generator<T[]> {
  let page: T[] = []
  for (const one of list) {
    if (page.push(one) < ARCHIVE_PAGE) continue
    yield page
    page = []
  }
  if (page.length > 0) yield page
}
