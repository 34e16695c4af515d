import { REDIS_COMMAND_TIMEOUT_MS, REDIS_POLL_MS } from '../../bounds/limits.ts'
import type { FollowedEvent } from '../../log/event.ts'
import { type Fence, isFenced } from '../fenced-seqs.ts'
import { isReady, type RedisClients } from './client.ts'
import { connectionReady } from './connection-ready.ts'
import { decodeFences, decodeStream, type StreamEntry } from './decode.ts'
import { FollowedPosition } from './followed-position.ts'
import type { RedisKeys } from './keys.ts'
import { type LogFailure, LogHealth } from './log-health.ts'
import { LogNotBegun, type OpenedLog, openLog, ShardMismatch } from './open-log.ts'
import { listOf, resultsOf, textOf } from './replies.ts'
import { type LogArgs, logArgs } from './scripts.ts'
import { checkAddress } from './server-checks.ts'
import type { StreamId } from './stream-id.ts'
import { WakeUps } from './wake-ups.ts'

/** Entries of the stream that are read at a time. */
const PAGE = 500

/** What a log needs to know; see the settings of the same names. */
export interface RedisLogOptions
  extends Pick<LogArgs, 'keys' | 'retentionPerChannel' | 'retentionDays'> {
  /** Number of logs that the store is split into, this one included. */
  readonly shards: number
  /** The first of them, which knows that number; undefined if this is it. */
  readonly first: RedisLog | undefined
  /** Receives events in the order of the log. */
  readonly onEvents: (events: readonly FollowedEvent[]) => void
  /** Called each time the log is opened. `nextExpiry` is in milliseconds since 1970. */
  readonly onOpened: (nextExpiry: number) => void
  /** Receives why a server refuses, once until the reason changes. */
  readonly onRefused: (reason: string) => void
}

/**
 * A log in Redis as this process follows it. Pub/Sub only wakes it: after each wake-up, each
 * reconnect and every {@link REDIS_POLL_MS} it reads on from where it is. It reads on the
 * connection that writes, so that the reply to a write always comes before the events of that
 * write.
 */
export class RedisLog {
  readonly #clients: RedisClients
  readonly #options: RedisLogOptions
  readonly #health: LogHealth
  readonly #wakeUps: WakeUps
  readonly #timer: NodeJS.Timeout
  /** Empty until Redis has replied for the first time. */
  #epoch = ''
  #floor = 0
  #fences: readonly Fence[] = []
  #mismatch: string | null = null
  readonly #position = new FollowedPosition()
  /** True if the stream no longer holds the next entry: this process continues at the head. */
  #missed = false
  #wanted = false
  #pulling: Promise<void> | null = null
  #closed = false

  constructor(clients: RedisClients, options: RedisLogOptions) {
    this.#clients = clients
    this.#options = options
    this.#health = new LogHealth(options.onRefused)
    this.#wakeUps = new WakeUps(clients, options.keys, {
      onWake: (id) => {
        if (this.#epoch === '' || this.#position.isBefore(id)) void this.pull()
      },
      onListening: () => this.pull(),
      onRefused: options.onRefused
    })
    const resume = (): void => {
      void this.pull()
      this.#wakeUps.retry()
    }
    clients.commands.on('ready', resume)
    clients.commands.on('close', () => {
      if (!this.#closed) this.#health.failed(new Error('the connection to Redis is lost'))
    })
    this.#timer = setInterval(resume, REDIS_POLL_MS).unref()
  }

  get keys(): RedisKeys {
    return this.#options.keys
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Names the log until it may have lost events; empty before the first reply of Redis. */
  get epoch(): string {
    return this.#epoch
  }

  /** Seq of the newest event that was followed. */
  get head(): number {
    return this.#position.id.seq
  }

  /** Lowest seq that a client can resume at. */
  get floor(): number {
    return this.#floor
  }

  get fences(): readonly Fence[] {
    return this.#fences
  }

  /** Why the log can be neither written nor followed now; null if it can. */
  get failure(): LogFailure | null {
    return this.#health.failure
  }

  /** Why the log refused the number of shards when it was last opened; null if it did not. */
  get mismatch(): string | null {
    return this.#mismatch
  }

  /** The same for the first shard, if this is another. */
  get firstMismatch(): string | null {
    return this.#options.first?.mismatch ?? null
  }

  /** What only an operator can correct: a missing permission, or an address of another kind. */
  get misconfiguration(): string | null {
    const { failure } = this
    return failure?.misconfigured ? failure.reason : this.#wakeUps.refusal
  }

  /** Why something does not work; null if everything does. */
  get reason(): string | null {
    return (
      this.firstMismatch ??
      this.failure?.reason ??
      (isReady(this.#clients.reads) ? null : 'the connection to Redis for reading is lost')
    )
  }

  /** Resolves when Redis has replied, or failed to, for the first time. */
  async begin(): Promise<void> {
    const { commands, reads, subscriber } = this.#clients
    const deadline = performance.now() + REDIS_COMMAND_TIMEOUT_MS
    const connections = [commands, reads, subscriber]
    await Promise.all(connections.map((one) => connectionReady(one, deadline))).catch(() => {})
    await Promise.all([this.pull(), this.#wakeUps.listen()])
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#timer)
    this.#wakeUps.close()
    this.#health.failed(new Error('the store is closed'))
    this.#position.release()
    this.#clients.close()
  }

  /** The first keys and arguments of every script. */
  args(): string[] {
    const { keys, retentionPerChannel, retentionDays } = this.#options
    const sharded = this.#clients.kind === 'cluster'
    return logArgs({ keys, epoch: this.#epoch, retentionPerChannel, retentionDays, sharded })
  }

  /** A sweep has raised the lowest seq that can be resumed at. */
  swept(floor: number): void {
    this.#floor = floor
  }

  /** Resolves when this process has followed a promised entry, or cannot follow it now. */
  followedTo(id: StreamId): Promise<void> {
    this.#position.promise(id.seq)
    if (!this.#position.isBefore(id) || this.#closed) return Promise.resolve()
    const reached = this.#position.reached(id)
    void this.pull()
    return reached
  }

  /** Resolves when everything that was in the log at the call is followed, or that failed. */
  async pull(): Promise<void> {
    this.#wanted = true
    // A running round may have begun before the entry that this call is about: run another.
    while (this.#pulling) await this.#pulling
    if (!this.#wanted || this.#closed) return
    this.#pulling = this.#pullAll().finally(() => {
      this.#pulling = null
    })
    await this.#pulling
  }

  async #pullAll(): Promise<void> {
    try {
      while (this.#wanted && !this.#closed) {
        this.#wanted = false
        await this.#pullPage()
      }
      if (!this.#closed) this.#health.recovered()
    } catch (error) {
      if (!this.#closed) this.#health.failed(error)
      // What was written is durable and will be followed later: its callers need not wait for that.
      this.#position.release()
    }
  }

  async #pullPage(): Promise<void> {
    if (this.#epoch === '') return this.#open()
    const { keys } = this.#options
    const { known, id } = this.#position
    // Others write between these three: the head from before must be among the entries, and an
    // epoch that is unchanged after them was unchanged while they were read.
    const pipeline = this.#clients.commands.pipeline()
    pipeline.hget(keys.state, 'seq')
    pipeline.xrange(keys.log, `(${id.seq}-${id.sub}`, '+', 'COUNT', PAGE)
    pipeline.hmget(keys.state, 'epoch', 'seq', 'floor', 'fences')
    const [headBefore, stream, state] = await resultsOf(pipeline)
    const [epoch, head, floor, fences] = listOf(state)
    this.#fences = decodeFences(textOf(fences))
    if (epoch !== this.#epoch || Number(head) < known || isFenced(known, this.#fences))
      return this.#open()
    this.#floor = Number(floor ?? 0)
    // The replies to writes that came before these entries are handled first.
    await new Promise((resolve) => setImmediate(resolve))
    const entries = decodeStream(stream)
    if (!this.#apply(entries, Number(headBefore ?? 0))) {
      this.#missed = true
      return this.#open()
    }
    if (entries.length === PAGE) this.#wanted = true
  }

  /**
   * Passes entries on. False if some are missing before them: the stream was trimmed further than
   * this process had followed.
   */
  #apply(entries: readonly StreamEntry[], headBefore: number): boolean {
    const events: FollowedEvent[] = []
    let { seq } = this.#position.id
    for (const { id, event } of entries) {
      if (event !== null && id.seq !== seq && (id.sub > 0 || id.seq !== seq + 1)) return false
      seq = id.seq
      if (event !== null) events.push(event)
    }
    const last = entries.at(-1)
    if (last === undefined) return headBefore <= seq
    this.#position.advance(last.id)
    if (events.length > 0) this.#emit(events)
    return true
  }

  /**
   * An error of the listener is a fault of this program, not of Redis: it ends the process, as with
   * the other stores.
   */
  #emit(events: readonly FollowedEvent[]): void {
    try {
      this.#options.onEvents(events)
    } catch (error) {
      queueMicrotask(() => {
        throw error
      })
    }
  }

  async #open(): Promise<void> {
    await checkAddress(this.#clients)
    const { epoch, end, floor, nextExpiry } = await this.#openAs(this.#options.first === undefined)
    this.#mismatch = null
    this.#floor = floor
    this.#options.onOpened(nextExpiry)
    if (epoch === this.#epoch && !this.#missed) {
      this.#wanted = true
      return
    }
    this.#missed = false
    this.#epoch = epoch
    this.#position.restart(end)
    this.#emit([{ kind: 'restarted', head: end.seq }])
  }

  async #openAs(mayBegin: boolean): Promise<OpenedLog> {
    const { first, shards } = this.#options
    const knownSeq = this.#epoch === '' ? null : this.#position.known
    try {
      const args = { logArgs: this.args(), knownSeq, shards, mayBegin }
      return await openLog(this.#clients.commands, args)
    } catch (error) {
      if (error instanceof ShardMismatch) this.#mismatch = error.message
      if (first === undefined || mayBegin || !(error instanceof LogNotBegun)) throw error
      // The log of the first shard may be a new one, with another number of shards.
      await first.pull()
      if (first.failure !== null) throw new Error(first.failure.reason)
      return this.#openAs(true)
    }
  }
}
