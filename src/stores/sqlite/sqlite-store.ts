import { statSync } from 'node:fs'
import { sliced } from '../../bounds/fair-queue.ts'
import { RETENTION_SLICE, TRANSACTION_LIMIT } from '../../bounds/limits.ts'
import type { Channel } from '../../log/channel.ts'
import type { FollowedEvent, MarkOp } from '../../log/event.ts'
import type { Counts, Publication } from '../../log/notification.ts'
// The types of the port, which every store names.
import {
  type CursorStatus,
  type Follower,
  type InboxPage,
  type InboxQuery,
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
  type TicketHolder
} from '../../log/store.ts'
import { type Fence, isFenced } from '../fenced-seqs.ts'
import { joinOutcomes } from '../join-outcomes.ts'
import { StoreOpenError } from '../store-open-error.ts'
import type { StoreOptions } from '../store-options.ts'
import { weightOfPublication } from '../weight-of-publication.ts'
import type { MarkProgress, Results } from './commands.ts'
import { Commits } from './commits.ts'
import { openDatabase } from './driver.ts'
import { type PreparedFile, prepareFile } from './prepare-file.ts'
import { Reader } from './reader.ts'
import { eraseReport, markReport, markUpToReport, type Report, recallReport } from './reports.ts'
import { PUT_BACK } from './restore-detector.ts'
import { messageOf } from './write-failure.ts'

/** How often at most the head is recorded for the restore detector. */
const RECORD_MS = 1000
/**
 * Entries that a mark up to a seq is expected to change in each channel: most subscribers have
 * marked older ones already.
 */
const MARKED_PER_CHANNEL = 10
/** How old the size of the files in the status may be. */
const SIZE_MS = 1000

/** The embedded store: one SQLite file, a writer thread, and short reads on this thread. */
export class SqliteStore implements Store, Log {
  readonly kind = 'sqlite'
  readonly logs: readonly [Log] = [this]
  readonly epoch: string
  readonly #file: PreparedFile
  readonly #commits: Commits
  readonly #reader: Reader
  readonly #fences: readonly Fence[]
  #listener: Follower = () => {}
  #recordTrouble: string | null = null
  #opened = false
  #recordedAt = 0
  #size = { at: Number.NEGATIVE_INFINITY, bytes: 0 }
  #closed: Promise<void> | undefined

  private constructor(file: PreparedFile, options: StoreOptions) {
    this.#file = file
    this.epoch = file.epoch
    // The fence of this process applies from its first event; until then its seqs are all above the
    // head.
    this.#fences =
      file.leap === null ? file.fences : [...file.fences, { tail: file.head, top: file.leap }]
    const { sync, retentionDays, retentionPerChannel } = options
    const { path, leap } = file
    this.#commits = new Commits({ path, sync, retentionDays, retentionPerChannel, leap }, file, {
      reported: (events) => this.#reported(events),
      committed: (ms) => options.onCommit?.(ms),
      lost: (error) => {
        // If the writer never started, `open` rejects instead.
        if (this.#opened) options.onLost?.(error)
      }
    })
    this.#reader = new Reader(openDatabase(file.path, { readOnly: true, timeout: 1000 }))
  }

  /** Opens or creates the files in `dataDir`. Rejects with {@link StoreOpenError}. */
  static async open(options: StoreOptions): Promise<SqliteStore> {
    const file = prepareFile(options.dataDir, options.sync)
    const store = new SqliteStore(file, options)
    try {
      await store.#commits.ready
      store.#opened = true
      if (file.putBack) options.log?.warning(PUT_BACK)
      return store
    } catch (error) {
      store.#reader.close()
      file.lock.close()
      throw new StoreOpenError(`${file.path}: the writer could not start (${messageOf(error)})`, {
        cause: error
      })
    }
  }

  logOf(): Log {
    return this
  }

  get head(): number {
    return this.#commits.head
  }

  get oldest(): number {
    return this.#commits.floor
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

  /** Does nothing: one process has the file, so this one is never behind. */
  async catchUp(): Promise<void> {}

  publish(items: readonly Publication[]): Promise<readonly PublishOutcome[]> {
    const slices = sliced(items, weightOfPublication, TRANSACTION_LIMIT)
    return joinOutcomes(slices, this.#commits.publish(slices))
  }

  async notification(id: string): Promise<StoredNotification | null> {
    return this.#read(() => this.#reader.notification(id))
  }

  async details(id: string): Promise<NotificationDetails | null> {
    return this.#read(() => this.#reader.details(id, this.epoch))
  }

  async recall(id: string): Promise<boolean> {
    const entries = this.#read(() => this.#reader.entriesLeft(id))
    return this.#commits.send('recall', { id }, recallReport, entries)
  }

  async recallKey(channel: Channel, key: string): Promise<boolean> {
    return this.#commits.send('recallKey', { channel, key }, recallReport)
  }

  async mark(user: string, op: MarkOp, target: MarkTarget): Promise<MarkOutcome> {
    if ('upTo' in target) return this.#markUpTo(user, op, target.upTo, target.scope)
    const entries = this.#read(() => this.#reader.markable(user, target.ids, target.allows))
    if (entries.length === 0) return { affected: 0, seq: this.head }
    const command = { user, op, entries }
    const report = (result: Results['mark']) => markReport(command, result)
    return this.#commits.send('mark', command, report, entries.length)
  }

  async #markUpTo(
    user: string,
    op: MarkOp,
    upTo: number,
    channels: readonly Channel[]
  ): Promise<MarkOutcome> {
    const scope = [...channels]
    const weight = Math.min(TRANSACTION_LIMIT.entries, MARKED_PER_CHANNEL * scope.length)
    for (let progress: MarkProgress = { channel: 0, after: 0, affected: 0 }; ; ) {
      const command = { user, op, upTo, scope, progress }
      const report = (result: Results['markUpTo']) => markUpToReport(command, result)
      const { affected, seq, next } = await this.#commits.send('markUpTo', command, report, weight)
      if (next === null) return { affected, seq }
      progress = next
    }
  }

  async erase(user: string): Promise<void> {
    const command = { user }
    const report = (result: Results['erase']) => eraseReport(command, result)
    while (!(await this.#commits.send('erase', command, report, RETENTION_SLICE)));
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

  async inbox(user: string, scope: readonly Channel[], query: InboxQuery): Promise<InboxPage> {
    return this.#read(() => this.#reader.inbox(user, scope, query))
  }

  async counts(user: string, scope: readonly Channel[]): Promise<Counts> {
    return this.#read(() => this.#reader.counts(user, scope))
  }

  async putTicket(hash: string, holder: TicketHolder, expiresAt: number): Promise<void> {
    await this.#commits.send('putTicket', { hash, holder, expiresAt }, silently)
  }

  async takeTicket(
    hash: string,
    { keep = false }: { keep?: boolean } = {}
  ): Promise<TicketHolder | null> {
    if (keep) return this.#read(() => this.#reader.ticket(hash))
    return this.#commits.send('takeTicket', { hash }, silently)
  }

  async revoke(user: string): Promise<void> {
    this.#reader.revoking(user)
    const events: readonly FollowedEvent[] = [{ kind: 'revoked', user }]
    await this.#commits.send('revoke', { user }, (outcome) => ({ outcome, events }))
  }

  async revokedAt(user: string): Promise<number> {
    return this.#read(() => this.#reader.revokedAt(user))
  }

  status(): StoreStatus {
    const reason = this.#reason
    return {
      healthy: reason === null,
      ...(reason === null ? {} : { reason }),
      lost: this.#commits.lost,
      bytes: this.#bytes(),
      commitMs: this.#commits.commitMs
    }
  }

  get #reason(): string | null {
    if (this.#closed) return 'the store is closed'
    return this.#commits.trouble ?? this.#recordTrouble
  }

  abandon(): void {
    this.#commits.abandon()
  }

  close(): Promise<void> {
    this.#closed ??= this.#end()
    return this.#closed
  }

  async #end(): Promise<void> {
    await this.#commits.close()
    this.#reader.close()
    this.#recordHead(!this.#commits.lost)
    this.#file.lock.close()
  }

  #reported(events: readonly FollowedEvent[]): void {
    this.#recordTrouble = null
    if (events.length > 0) this.#listener(events, this)
    if (Date.now() - this.#recordedAt >= RECORD_MS) this.#recordHead(false)
  }

  /** Every stream that opens asks for the status, so the files are looked at once a second. */
  #bytes(): number {
    const now = performance.now()
    if (now - this.#size.at >= SIZE_MS) {
      const { path } = this.#file
      this.#size = { at: now, bytes: sizeOf(path) + sizeOf(`${path}-wal`) }
    }
    return this.#size.bytes
  }

  #read<T>(work: () => T): T {
    if (this.#closed) throw new StoreError('unavailable', 'the store is closed')
    try {
      return work()
    } catch (error) {
      const message = `the database cannot be read: ${messageOf(error)}`
      throw new StoreError('unavailable', message, { cause: error })
    }
  }

  #recordHead(clean: boolean): void {
    this.#recordedAt = Date.now()
    try {
      this.#file.detector.record(this.head, { clean })
    } catch (error) {
      // The file then has an older head, which detects less.
      this.#recordTrouble = `the head cannot be recorded: ${messageOf(error)}`
    }
  }
}

/** The result is the outcome, and there is no event. */
const silently = <Result>(outcome: Result): Report<Result> => ({ outcome, events: [] })

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0
