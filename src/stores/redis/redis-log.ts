import { randomBytes } from 'node:crypto'
import {
  REDIS_COMMAND_TIMEOUT_MS,
  REDIS_POLL_MS,
  REDIS_REPLICA_TIMEOUT_MS
} from '../../bounds/limits.ts'
import type { FollowedEvent } from '../../log/event.ts'
import { StoreError } from '../../log/store.ts'
import { type Fence, isFenced } from '../fences.ts'
import { isReady, type RedisClients, type RedisConnection } from './client.ts'
import {
  decodeFollowed,
  isAfter,
  parsePlace,
  type StreamEntry,
  type StreamPlace
} from './entries.ts'
import type { RedisKeys } from './keys.ts'
import {
  isBrokenConnection,
  isMisfit,
  isOtherEpoch,
  reasonOf,
  silenceOf,
  storeErrorOf,
  wasNotSent
} from './redis-errors.ts'
import { SCRIPTS, type ScriptName } from './scripts.ts'
import { checkAddress } from './server-checks.ts'

/** Entries of the stream that are taken at a time. */
const PAGE = 500

export interface RedisLogOptions {
  readonly keys: RedisKeys
  /** What a channel keeps; 0: all. */
  readonly retentionPerChannel: number
  /** How long marks are kept after the last was set; 0: for ever. */
  readonly marksMs: number
  readonly waitReplicas: number
  /** How many logs there are beside one another, this one included. */
  readonly shards: number
  /** The first of them, which knows that number; undefined where this is it. */
  readonly first: RedisLog | undefined
}

/** A place before all others: whoever hears it has nothing to read. */
const NOWHERE = '0-0'

interface Waiter {
  readonly place: StreamPlace
  readonly resolve: () => void
}

/**
 * The log in Redis as this process follows it. Pub/Sub is a wake-up only: after each, each return of a connection and every
 * {@link REDIS_POLL_MS} the log is read on from the place that was reached, on the connection that writes, so that the answer to a
 * write always comes before the events that it made.
 */
export class RedisLog {
  /** Empty until Redis has answered for the first time. */
  epoch = ''
  head = 0
  floor = 0
  fences: readonly Fence[] = []
  /** Moment at which the next entry expires, as far as this process knows. */
  soonest = Number.POSITIVE_INFINITY
  /** Why the log can neither be written nor followed now; null where it can. */
  trouble: string | null = 'Redis has not been reached yet'
  /** What the log said when it was last opened, where it was begun with another number of shards; null where it was not. */
  refused: string | null = null
  onEvents: (events: readonly FollowedEvent[]) => void = () => {}
  /** Hears why a server refuses, each reason once until it is over; what is wrong with a connection its own listener hears. */
  onRefused: (reason: string) => void = () => {}
  readonly #clients: RedisClients
  readonly #options: RedisLogOptions
  readonly #timer: NodeJS.Timeout
  #place: StreamPlace = { seq: 0, sub: 0 }
  /** Newest place that a caller was promised: Redis must still have it. */
  #promised = 0
  #waiters: Waiter[] = []
  /** True if only an operator can mend the trouble. */
  #misfit = false
  /** Why Redis refuses wake-ups to this process; null if it does not. */
  #silence: string | null = null
  /** True once wake-ups can be sent and heard, until the connection is lost. */
  #hears = false
  #listening: Promise<void> | null = null
  /** True where the stream no longer holds what comes next: to be begun anew at its head, and readers have to be told. */
  #missed = false
  #wanted = false
  #pulling: Promise<void> | null = null
  #opening: Promise<void> | null = null
  /** Monotonic moment at which trouble began. */
  #troubledAt = performance.now()
  #closed = false

  constructor(clients: RedisClients, options: RedisLogOptions) {
    this.#clients = clients
    this.#options = options
    const { subscriber } = clients
    subscriber.on('ready', () => void this.#listen())
    subscriber.on('close', () => {
      this.#hears = false
    })
    subscriber.on(this.#sharded ? 'smessage' : 'message', (_channel: string, place: string) =>
      this.#woken(place)
    )
    clients.commands.on('ready', () => {
      void this.pull()
      if (!this.#hears) void this.#listen()
    })
    clients.commands.on('close', () => this.#troubled(new Error('the connection to Redis is lost')))
    this.#timer = setInterval(() => {
      void this.pull()
      if (!this.#hears) void this.#listen()
    }, REDIS_POLL_MS).unref()
  }

  get #sharded(): boolean {
    return this.#clients.kind === 'cluster'
  }

  /** What only an operator can mend: a missing right, an address of another kind. Null if there is nothing. */
  get misfit(): string | null {
    return (this.#misfit ? this.trouble : null) ?? this.#silence
  }

  /** Why not everything works; null where it does. */
  get reason(): string | null {
    return (
      this.#options.first?.refused ??
      this.trouble ??
      (isReady(this.#clients.reads) ? null : 'the connection to Redis for reading is lost')
    )
  }

  /** Resolves when Redis has answered or failed to, for the first time. */
  async begin(): Promise<void> {
    const { commands, reads, subscriber } = this.#clients
    const deadline = performance.now() + REDIS_COMMAND_TIMEOUT_MS
    await Promise.all([commands, reads, subscriber].map((one) => ready(one, deadline))).catch(
      () => {}
    )
    await Promise.all([this.pull(), this.#listen()])
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#timer)
    this.trouble = 'the store is closed'
    this.#settle({ seq: Number.POSITIVE_INFINITY, sub: 0 })
    this.#clients.close()
  }

  /** Runs a script that reads. */
  read(name: ScriptName, args: readonly string[]): Promise<unknown> {
    return this.#run(this.#clients.reads, name, args, false)
  }

  /** Runs a script that appends, or might; resolves with its answer in the turn in which its events are followed. */
  async write(name: ScriptName, args: readonly string[]): Promise<readonly unknown[]> {
    const { answer, followed } = await this.append(name, args)
    await followed
    return answer
  }

  /**
   * The same, in two steps. `repeatable`: the script knows a call that it has carried out already, so it is sent again where a
   * connection broke.
   */
  async append(
    name: ScriptName,
    args: readonly string[],
    repeatable = false
  ): Promise<{ answer: readonly unknown[]; followed: Promise<void> }> {
    const answer = (await this.#run(
      this.#clients.commands,
      name,
      args,
      true,
      repeatable
    )) as readonly unknown[]
    const place = parsePlace(answer[0] as string)
    this.#promised = Math.max(this.#promised, place.seq)
    return { answer, followed: this.#reach(place) }
  }

  /** Reads on; resolves when everything has been followed that was in the log when it was called, or when that failed. */
  async pull(): Promise<void> {
    this.#wanted = true
    // One that is under way may have read already what it reads: what was wanted meanwhile is a round of its own.
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
        await this.#pullOnce()
      }
      if (!this.#closed) this.trouble = null
    } catch (error) {
      this.#troubled(error)
      // What was written is durable, and will be followed later: that is no reason to let its callers wait.
      this.#settle({ seq: Number.POSITIVE_INFINITY, sub: 0 })
    }
  }

  async #pullOnce(): Promise<void> {
    if (this.epoch === '') return this.#open()
    const { keys } = this.#options
    const { seq, sub } = this.#place
    const known = Math.max(seq, this.#promised)
    // Others write between these three: the head from before must be among the entries, and an epoch that is still the same
    // behind them was the same while they were read.
    const pipeline = this.#clients.commands.pipeline()
    pipeline.hget(keys.state, 'seq')
    pipeline.xrange(keys.log, `(${seq}-${sub}`, '+', 'COUNT', PAGE)
    pipeline.hmget(keys.state, 'epoch', 'seq', 'floor', 'fences')
    const [least, entries, state] = (await results(pipeline)) as [
      string,
      StreamEntry[],
      (string | null)[]
    ]
    const [epoch, head, floor, fences] = state
    this.fences = parseFences(fences ?? '')
    if (epoch !== this.epoch || Number(head) < known || isFenced(known, this.fences))
      return this.#open()
    this.floor = Number(floor ?? 0)
    // The answers to writes that came before these entries are taken first.
    await new Promise((resolve) => setImmediate(resolve))
    if (!this.#apply(entries, Number(least))) {
      this.#missed = true
      return this.#open()
    }
    if (entries.length === PAGE) this.#wanted = true
  }

  /** Hands the entries on. False where some are missing before them: the stream was cut shorter than this process was behind. */
  #apply(entries: readonly StreamEntry[], least: number): boolean {
    const events: FollowedEvent[] = []
    let { seq } = this.#place
    for (const entry of entries) {
      const place = parsePlace(entry[0])
      const event = decodeFollowed(entry)
      if (event !== null && place.seq !== seq && (place.sub > 0 || place.seq !== seq + 1))
        return false
      seq = place.seq
      if (event === null) continue
      events.push(event)
      if ('entry' in event && event.entry.expiresAt !== undefined)
        this.soonest = Math.min(this.soonest, event.entry.expiresAt)
    }
    if (entries.length === 0) return least <= seq
    this.#place = parsePlace(entries.at(-1)![0])
    this.head = seq
    this.#settle(this.#place)
    if (events.length > 0) this.#follow(events)
    return true
  }

  /** What a follower throws is a fault of ours, not trouble with Redis: it must end the process, as it does with the other stores. */
  #follow(events: readonly FollowedEvent[]): void {
    try {
      this.onEvents(events)
    } catch (error) {
      queueMicrotask(() => {
        throw error
      })
    }
  }

  /** Finds the log, or begins it. Everybody who wants it at once shares one call. */
  #open(): Promise<void> {
    this.#opening ??= this.#openOnce().finally(() => {
      this.#opening = null
    })
    return this.#opening
  }

  async #openOnce(): Promise<void> {
    await checkAddress(this.#clients)
    const known = this.epoch === '' ? '' : String(Math.max(this.#place.seq, this.#promised))
    const answer = await this.#openWith(known, this.#options.first === undefined)
    this.refused = null
    const [place, epoch, seq, floor, soonest] = answer
    this.soonest = soonest === '' ? Number.POSITIVE_INFINITY : Number(soonest)
    this.floor = floor
    if (epoch === this.epoch && !this.#missed) {
      this.#wanted = true
      return
    }
    this.#missed = false
    this.epoch = epoch
    this.#place = parsePlace(place)
    this.#promised = 0
    this.head = seq
    this.#settle({ seq: Number.POSITIVE_INFINITY, sub: 0 })
    this.#follow([{ kind: 'restarted', head: seq }])
  }

  async #openWith(
    known: string,
    begins: boolean
  ): Promise<[string, string, number, number, string]> {
    const { first, shards } = this.#options
    const fresh = `r${randomBytes(5).toString('hex').slice(0, 9)}`
    const args = this.#args([fresh, known, String(shards), begins ? '1' : ''])
    try {
      return (await SCRIPTS.open.run(this.#clients.commands, args)) as [
        string,
        string,
        number,
        number,
        string
      ]
    } catch (error) {
      const { message } = error as Error
      if (message.startsWith('SHARDS ')) {
        this.refused = message.slice('SHARDS '.length)
        throw new Error(this.refused)
      }
      if (first === undefined || begins || !message.startsWith('UNBEGUN ')) throw error
      // Whether the number is right the first knows, as it is now: it may have been begun anew with another.
      await first.pull()
      if (first.trouble !== null) throw new Error(first.trouble)
      return this.#openWith(known, true)
    }
  }

  #args(own: readonly string[]): string[] {
    const { keys, retentionPerChannel, marksMs } = this.#options
    const wakeCommand = this.#sharded ? 'SPUBLISH' : 'PUBLISH'
    return [
      keys.state,
      keys.log,
      this.epoch,
      String(retentionPerChannel),
      String(marksMs),
      wakeCommand,
      keys.wake,
      ...own
    ]
  }

  async #run(
    connection: RedisConnection,
    name: ScriptName,
    own: readonly string[],
    writes: boolean,
    repeatable = false
  ): Promise<unknown> {
    const deadline = performance.now() + REDIS_COMMAND_TIMEOUT_MS
    for (let moved = 0; ; ) {
      if (this.#closed) throw new StoreError('unavailable', 'the store is closed')
      try {
        await this.#usable(connection, deadline)
        return await this.#send(connection, name, own, writes)
      } catch (error) {
        if (isOtherEpoch(error) && moved++ === 0) {
          await this.pull()
          // A place of the log that was is none in this one.
          if (!TIMELESS.has(name))
            throw new StoreError('unavailable', 'the log has begun anew', { cause: error })
        } else {
          const again = wasNotSent(error) || ((repeatable || !writes) && isBrokenConnection(error))
          if (!again || performance.now() >= deadline) throw storeErrorOf(error)
          // The connection's own end is heard in between.
          await new Promise((resolve) => setImmediate(resolve))
        }
      }
    }
  }

  async #send(
    connection: RedisConnection,
    name: ScriptName,
    own: readonly string[],
    writes: boolean
  ): Promise<unknown> {
    const { waitReplicas } = this.#options
    const answer = SCRIPTS[name].run(connection, this.#args(own))
    if (!writes || waitReplicas === 0) return answer
    await answer
    const reached = await this.#replicas(connection)
    if (reached < waitReplicas)
      throw new StoreError(
        'unavailable',
        `${reached} of ${waitReplicas} replicas have it (REDIS_WAIT_REPLICAS)`
      )
    return answer
  }

  /** How many replicas have everything that this connection has written. */
  async #replicas(connection: RedisConnection): Promise<number> {
    const pipeline = connection.pipeline()
    // In a cluster it goes where the key before it lies.
    pipeline.hget(this.#options.keys.state, 'epoch')
    pipeline.wait(this.#options.waitReplicas, REDIS_REPLICA_TIMEOUT_MS)
    return (await results(pipeline))[1] as number
  }

  /** Waits a moment for a connection that was lost a moment ago, and for nothing else. */
  async #usable(connection: RedisConnection, deadline: number): Promise<void> {
    const patience =
      this.trouble === null
        ? deadline
        : Math.min(deadline, this.#troubledAt + REDIS_COMMAND_TIMEOUT_MS)
    await ready(connection, patience)
    // Users would be looked for where they are not.
    const refused = this.#options.first?.refused ?? this.refused
    if (refused !== null) throw new StoreError('unavailable', refused)
    // One that is frozen takes commands, and answers none: nobody is to find that out again, one by one.
    if (this.trouble !== null && performance.now() >= patience)
      throw new StoreError('unavailable', this.trouble)
    if (this.epoch === '') await this.pull()
    if (this.epoch === '')
      throw new StoreError('unavailable', this.trouble ?? 'Redis has not been reached yet')
  }

  #reach(place: StreamPlace): Promise<void> {
    if (!isAfter(place, this.#place) || this.#closed) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiters.push({ place, resolve })
      void this.pull()
    })
  }

  #settle(reached: StreamPlace): void {
    const waiting = this.#waiters
    this.#waiters = []
    for (const waiter of waiting) {
      if (isAfter(waiter.place, reached)) this.#waiters.push(waiter)
      else waiter.resolve()
    }
  }

  /** Subscribes to the wake-ups and sends one. Both are tried again every {@link REDIS_POLL_MS} until Redis allows them. */
  #listen(): Promise<void> {
    this.#listening ??= this.#listenOnce().finally(() => {
      this.#listening = null
    })
    return this.#listening
  }

  async #listenOnce(): Promise<void> {
    const { commands, subscriber } = this.#clients
    if (this.#closed || !isReady(subscriber)) return
    const { wake, prefix } = this.#options.keys
    try {
      await (this.#sharded ? subscriber.ssubscribe(wake) : subscriber.subscribe(wake))
      if (!isReady(commands)) return
      // As the scripts do, which cannot report that they may not.
      await (this.#sharded ? commands.spublish(wake, NOWHERE) : commands.publish(wake, NOWHERE))
      this.#silence = null
      this.#hears = isReady(subscriber)
    } catch (error) {
      // A connection that broke meanwhile is reported by itself, and is back soon.
      if (this.#closed || !(error instanceof Error) || error.name !== 'ReplyError') return
      const silence = silenceOf(error, prefix)
      if (silence !== this.#silence) this.onRefused(silence)
      this.#silence = silence
    }
    // What was appended before the subscription woke nobody.
    await this.pull()
  }

  #woken(place: string): void {
    if (this.epoch === '' || isAfter(parsePlace(place), this.#place)) void this.pull()
  }

  #troubled(error: unknown): void {
    if (this.#closed) return
    if (this.trouble === null) this.#troubledAt = performance.now()
    const reason = reasonOf(error)
    this.#misfit = isMisfit(error)
    if (
      reason !== this.trouble &&
      error instanceof Error &&
      (this.#misfit || error.name === 'ReplyError')
    )
      this.onRefused(reason)
    this.trouble = reason
  }
}

/** Scripts that mean the same in any log, since nothing they are told is a place. */
const TIMELESS: ReadonlySet<ScriptName> = new Set([
  'publish',
  'recall',
  'findChannels',
  'erase',
  'getNotification',
  'counts',
  'putTicket',
  'takeTicket',
  'revoke',
  'revokedAt',
  'sweep'
])

/** As the scripts keep them: `tail top;tail top;…`. */
function parseFences(text: string): Fence[] {
  return [...text.matchAll(/(\d+) (\d+);/g)].map(([, tail, top]) => ({
    tail: Number(tail),
    top: Number(top)
  }))
}

/** What each command of a pipeline answered; rejects with the first that failed. */
async function results(pipeline: ReturnType<RedisConnection['pipeline']>): Promise<unknown[]> {
  const answers = (await pipeline.exec()) ?? []
  return answers.map(([error, answer]) => {
    if (error) throw error
    return answer
  })
}

/** Resolves when a connection takes commands; rejects at the monotonic `deadline`. */
async function ready(connection: RedisConnection, deadline: number): Promise<void> {
  if (isReady(connection)) return
  const error = new StoreError('unavailable', 'Redis cannot be reached')
  const left = deadline - performance.now()
  if (left <= 0) throw error
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(error), left)
    void nextReady(connection).then(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}

/** However many wait for a connection, it has one listener for them. */
const returns = new WeakMap<RedisConnection, Promise<void>>()

function nextReady(connection: RedisConnection): Promise<void> {
  let next = returns.get(connection)
  if (next === undefined) {
    next = new Promise((resolve) =>
      connection.once('ready', () => {
        returns.delete(connection)
        resolve()
      })
    )
    returns.set(connection, next)
  }
  return next
}
