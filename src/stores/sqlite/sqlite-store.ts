import { statSync } from 'node:fs'
import { type Slice, sliced, type Weight, weightOf } from '../../bounds/fair-queue.ts'
import { RETENTION_SLICE, TRANSACTION_LIMIT, WRITER_STALL_MS } from '../../bounds/limits.ts'
import { type Channel, channelsOf, userChannel } from '../../log/channel.ts'
import type { FollowedEvent, MarkOp } from '../../log/event.ts'
import type { Counts, Publication } from '../../log/notification.ts'
import {
  type CursorStatus,
  type Follower,
  type InboxPage,
  type InboxStatus,
  type Log,
  type LogGap,
  type LogPage,
  type MarkOutcome,
  type MarkTarget,
  type NotificationDetails,
  type PublishOutcome,
  type Store,
  type StoredNotification,
  StoreError,
  type StoreStatus,
  type StoreWarning,
  type TicketHolder
} from '../../log/store.ts'
import { type Fence, isFenced } from '../fences.ts'
import { joinOutcomes } from '../join-outcomes.ts'
import { StoreOpenError } from '../store-open-error.ts'
import type { StoreOptions } from '../store-options.ts'
import { COMMAND, encodePublish, ITEM, type MarkProgress, type WriterReport } from './commands.ts'
import { type PreparedFile, prepareFile } from './prepare-file.ts'
import { Reader } from './reader.ts'
import { type Command, WriterThread } from './writer-thread.ts'

/** How often the proof of life is brought up to the head, at most. */
const LIFE_MS = 1000
/** Entries that a mark up to a place is expected to change in each channel: most readers have marked what is older. */
const MARKED_PER_CHANNEL = 10
/** How old the size of the files may be that the status tells. */
const SIZE_MS = 1000

const PUT_BACK: StoreWarning = {
  code: 'store-put-back',
  message:
    'The database is not as the last process on this directory left it: the log has a new epoch.',
  action:
    'Expected after a restore, and after a power cut with STORE_SYNC=normal. Clients that have seen what is missing get a reset, the others resume.'
}

/** The embedded store: one SQLite file, one writer thread, short reads on this thread. */
export class SqliteStore implements Store, Log {
  readonly kind = 'sqlite'
  readonly logs: readonly [Log] = [this]
  readonly epoch: string
  head: number
  readonly #file: PreparedFile
  readonly #writer: WriterThread
  readonly #reader: Reader
  readonly #fences: readonly Fence[]
  #floor: number
  #listener: Follower = () => {}
  /** Events of the report that is being taken apart. */
  #events: FollowedEvent[] = []
  #commitMs: number | undefined
  readonly #onCommit: StoreOptions['onCommit']
  #trouble: string | null = null
  #opened = false
  #lifeAt = 0
  #sized = { at: Number.NEGATIVE_INFINITY, bytes: 0 }
  #closed: Promise<void> | undefined

  private constructor(file: PreparedFile, options: StoreOptions) {
    this.#file = file
    this.epoch = file.epoch
    this.head = file.head
    this.#floor = file.floor
    // The one of this life is in force from its first event; until then all places in it are beyond the head.
    this.#fences =
      file.leap === null ? file.fences : [...file.fences, { tail: file.head, top: file.leap }]
    this.#onCommit = options.onCommit
    const { sync, retentionDays, retentionPerChannel } = options
    const { path, leap } = file
    this.#writer = new WriterThread(
      { path, sync, retentionDays, retentionPerChannel, leap },
      this.#take,
      (error) => {
        // One that never started is the opener's to tell.
        if (this.#opened) options.onLost?.(error)
      }
    )
    this.#reader = new Reader(file.path)
  }

  /** Opens or creates the files in `dataDir`. Rejects with {@link StoreOpenError}. */
  static async open(options: StoreOptions): Promise<SqliteStore> {
    const file = prepareFile(options.dataDir, options.sync)
    const store = new SqliteStore(file, options)
    try {
      await store.#writer.ready
      store.#opened = true
      if (file.putBack) options.log?.warning(PUT_BACK)
      return store
    } catch (error) {
      store.#reader.close()
      file.lock.close()
      throw new StoreOpenError(
        `${file.path}: the writer could not start (${(error as Error).message})`,
        { cause: error }
      )
    }
  }

  logOf(): Log {
    return this
  }

  get oldest(): number {
    return this.#floor
  }

  get healthy(): boolean {
    return this.#reason === null
  }

  cursorStatus(epoch: string, seq: number): CursorStatus {
    const last = epoch === this.epoch ? this.head : this.#file.pastEpochs.get(epoch)
    if (last === undefined) return 'foreign'
    return seq > last || isFenced(seq, this.#fences) ? 'undone' : 'held'
  }

  follow(listener: Follower): void {
    this.#listener = listener
  }

  /** Nobody else writes: one process a file. */
  async catchUp(): Promise<void> {}

  publish(items: readonly Publication[]): Promise<readonly PublishOutcome[]> {
    const slices = sliced(items, weigh, TRANSACTION_LIMIT)
    const commands: Command[] = []
    const answers = slices.map(
      (slice) =>
        new Promise<readonly PublishOutcome[]>((resolve, failed) => {
          commands.push(this.#publishing(slice, resolve, failed))
        })
    )
    this.#writer.send(...commands)
    return joinOutcomes(slices, answers)
  }

  #publishing(
    { items, entries, bytes }: Slice<Publication>,
    resolve: (outcomes: readonly PublishOutcome[]) => void,
    failed: (error: Error) => void
  ): Command {
    const done = (results: readonly unknown[], at: number): number => {
      let next = at
      const outcomes = items.map((item): PublishOutcome => {
        switch (results[next++]) {
          case ITEM.replayed:
            next += 2
            return {
              kind: 'replayed',
              id: results[next - 2] as string,
              createdAt: results[next - 1] as number
            }
          case ITEM.reused:
            return { kind: 'key-reused' }
          case ITEM.expired:
            return { kind: 'expired' }
          case ITEM.ephemeral:
            this.#ephemeral(item)
            break
          case ITEM.accepted:
            this.#appended(item, results[next++] as number, null)
            break
          case ITEM.collapsed: {
            const seq = results[next++] as number
            const end = next + 2 * channelsOf(item.to).length
            this.#appended(item, seq, results.slice(next, end))
            next = end
          }
        }
        return { kind: 'accepted', id: item.id, createdAt: item.createdAt }
      })
      resolve(outcomes)
      return next
    }
    return { encode: () => encodePublish(items), entries, bytes, done, failed }
  }

  async notification(id: string): Promise<StoredNotification | null> {
    return this.#read(() => this.#reader.notification(id))
  }

  async details(id: string): Promise<NotificationDetails | null> {
    return this.#read(() => this.#reader.details(id, this.epoch))
  }

  async recall(id: string): Promise<boolean> {
    const entries = this.#read(() => this.#reader.entriesOf(id))
    const answer = (channels: unknown, first: unknown): boolean => {
      const names = channels as Channel[]
      names.forEach((channel, k) => {
        this.#events.push({
          kind: 'state',
          op: 'removed',
          channel,
          seq: (first as number) + k,
          ids: [id],
          upTo: null
        })
      })
      return names.length > 0
    }
    return this.#send([COMMAND.recall, id], 2, answer, entries)
  }

  async mark(user: string, op: MarkOp, target: MarkTarget): Promise<MarkOutcome> {
    const byIds = 'ids' in target
    const places = byIds
      ? this.#read(() => this.#reader.places(user, target.ids, target.allows))
      : []
    if (byIds && places.length === 0) return { affected: 0, seq: this.head }
    const channels = byIds ? places.map(({ channel }) => channel) : [...target.scope]
    const upTo = byIds ? null : target.upTo
    const named = [places.map(({ seq }) => seq), places.map(({ id }) => id)]
    const entries = byIds
      ? places.length
      : Math.min(TRANSACTION_LIMIT.entries, MARKED_PER_CHANNEL * channels.length)
    const answer = (affected: unknown, seq: unknown, ids: unknown, rest: unknown) => {
      const outcome = { affected: affected as number, seq: seq as number }
      if (rest === null && outcome.affected > 0) {
        this.#events.push({
          kind: 'state',
          op,
          channel: userChannel(user),
          seq: outcome.seq,
          ids: ids as string[] | null,
          upTo
        })
      }
      return { outcome, rest: rest as MarkProgress | null }
    }
    for (let progress: MarkProgress = [0, 0, 0]; ; ) {
      const { outcome, rest } = await this.#send(
        [COMMAND.mark, user, op, upTo, channels, named, progress],
        4,
        answer,
        entries
      )
      if (rest === null) return outcome
      progress = rest
    }
  }

  async erase(user: string): Promise<void> {
    const answer = (place: unknown): boolean => {
      if (place === null) return false
      const seq = place as number
      this.#events.push({
        kind: 'state',
        op: 'removed',
        channel: userChannel(user),
        seq,
        ids: null,
        upTo: seq - 1
      })
      return true
    }
    while (!(await this.#send([COMMAND.erase, user], 1, answer, RETENTION_SLICE)));
  }

  async read(
    user: string,
    scope: readonly Channel[],
    after: number,
    limit: number
  ): Promise<LogPage | LogGap> {
    if (isFenced(after, this.#fences)) return { gap: true }
    return this.#read(() => this.#reader.read(user, scope, after, limit))
  }

  async inbox(
    user: string,
    scope: readonly Channel[],
    query: { status: InboxStatus; limit: number; before?: number | undefined }
  ): Promise<InboxPage> {
    return this.#read(() => this.#reader.inbox(user, scope, query))
  }

  async counts(user: string, scope: readonly Channel[]): Promise<Counts> {
    return this.#read(() => this.#reader.counts(user, scope))
  }

  putTicket(hash: string, holder: TicketHolder, expiresAt: number): Promise<void> {
    return this.#send(
      [COMMAND.putTicket, hash, holder.user, JSON.stringify(holder.topics), expiresAt],
      0,
      () => {}
    )
  }

  async takeTicket(
    hash: string,
    { keep = false }: { keep?: boolean } = {}
  ): Promise<TicketHolder | null> {
    if (keep) return this.#read(() => this.#reader.ticket(hash))
    return this.#send([COMMAND.takeTicket, hash], 2, (user, topics) =>
      user === null
        ? null
        : { user: user as string, topics: JSON.parse(topics as string) as string[] }
    )
  }

  revoke(user: string): Promise<void> {
    return this.#send([COMMAND.revoke, user], 0, () => {
      this.#events.push({ kind: 'revoked', user })
    })
  }

  async revokedAt(user: string): Promise<number> {
    return this.#read(() => this.#reader.revokedAt(user))
  }

  status(): StoreStatus {
    const reason = this.#reason
    return {
      healthy: reason === null,
      ...(reason === null ? {} : { reason }),
      lost: this.#writer.gone !== null,
      bytes: this.#bytes(),
      commitMs: this.#commitMs
    }
  }

  get #reason(): string | null {
    if (this.#closed) return 'the store is closed'
    if (this.#writer.gone) return this.#writer.gone.message
    const { busyMs } = this.#writer
    return busyMs > WRITER_STALL_MS
      ? `the disk has not finished a write for ${Math.floor(busyMs / 1000)} s`
      : this.#trouble
  }

  abandon(): void {
    this.#writer.abandon()
  }

  close(): Promise<void> {
    this.#closed ??= this.#end()
    return this.#closed
  }

  async #end(): Promise<void> {
    await this.#writer.close()
    this.#reader.close()
    this.#proveLife(this.#writer.gone === null)
    this.#file.lock.close()
  }

  /** Takes one report: answers first, then one batch of events, in one turn. */
  #take = (report: WriterReport, settle: () => void): void => {
    this.#floor = report.floor
    if (report.commitMs > 0) {
      this.#commitMs = report.commitMs
      this.#onCommit?.(report.commitMs)
    }
    this.#trouble = report.trouble
    const events: FollowedEvent[] = report.dropped
      ? report.dropped.map((channel) => ({ kind: 'dropped', channel: channel as Channel }))
      : []
    this.#events = events
    this.head = report.head
    settle()
    if (events.length > 0) this.#listener(events, this)
    if (Date.now() - this.#lifeAt >= LIFE_MS) this.#proveLife(false)
  }

  #appended(item: Publication, first: number, collapses: readonly unknown[] | null): void {
    const { id, content, createdAt, expiresAt } = item
    channelsOf(item.to).forEach((channel, k) => {
      const times = collapses ? (collapses[2 * k] as number) : 0
      const replaces = (collapses?.[2 * k + 1] as string | null | undefined) ?? undefined
      const entry = { id, seq: first + k, content, createdAt, expiresAt, times, replaces }
      this.#events.push({
        kind: 'notification',
        op: replaces === undefined ? 'created' : 'updated',
        channel,
        seq: first + k,
        entry
      })
    })
  }

  #ephemeral({ id, to, content, createdAt, expiresAt }: Publication): void {
    const entry = { id, content, createdAt, expiresAt, times: 0 }
    for (const channel of channelsOf(to)) this.#events.push({ kind: 'ephemeral', channel, entry })
  }

  /** `entries`: how many it may touch, if that is more than a few. */
  #send<T>(
    request: readonly unknown[],
    values: number,
    answer: (...values: readonly unknown[]) => T,
    entries = 1
  ): Promise<T> {
    return new Promise((resolve, failed) => {
      const done = (results: readonly unknown[], at: number): number => {
        resolve(answer(...results.slice(at, at + values)))
        return at + values
      }
      this.#writer.send({ encode: () => request, entries, bytes: 0, done, failed })
    })
  }

  /** Every stream that opens asks for the status; the files are looked at once a second. */
  #bytes(): number {
    const now = performance.now()
    if (now - this.#sized.at >= SIZE_MS) {
      this.#sized = { at: now, bytes: size(this.#file.path) + size(`${this.#file.path}-wal`) }
    }
    return this.#sized.bytes
  }

  #read<T>(work: () => T): T {
    if (this.#closed) throw new StoreError('unavailable', 'the store is closed')
    try {
      return work()
    } catch (error) {
      throw new StoreError(
        'unavailable',
        `the database cannot be read: ${(error as Error).message}`,
        { cause: error }
      )
    }
  }

  #proveLife(clean: boolean): void {
    this.#lifeAt = Date.now()
    try {
      this.#file.life.write(this.head, { clean })
    } catch (error) {
      // An older head in it only proves less.
      this.#trouble ??= `the proof of life cannot be written: ${(error as Error).message}`
    }
  }
}

const weigh = ({ content, to }: Publication): Weight =>
  weightOf(content, 'users' in to ? to.users.length : 1)

function size(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}
