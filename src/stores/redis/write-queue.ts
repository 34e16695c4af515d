import { randomBytes } from 'node:crypto'
import { FairQueue, type Slice, sliced, type Weight, weightOf } from '../../bounds/fair-queue.ts'
import {
  IDEMPOTENCY_MS,
  MAX_PENDING_BYTES,
  REDIS_AHEAD_ENTRIES,
  REDIS_CALL_LIMIT
} from '../../bounds/limits.ts'
import { type PublishOutcome, StoreError } from '../../log/store.ts'
import { joinOutcomes } from '../join-outcomes.ts'
import type { LogCalls } from './log-calls.ts'
import { ReplyReader } from './replies.ts'
import type { ShardPublication } from './shard-publication.ts'

/** A slice of a publish call. */
interface Publishing extends Slice<ShardPublication> {
  readonly resolve: (outcomes: readonly PublishOutcome[]) => void
  readonly reject: (error: unknown) => void
}

/** A long call of another kind, which has a round to itself. */
interface LongCall extends Weight {
  readonly run: () => Promise<void>
  readonly reject: (error: unknown) => void
}

const isPublishing = (one: Publishing | LongCall): one is Publishing => 'items' in one

/**
 * Publish calls and long calls take turns here. What arrives during one call of Redis goes into the
 * next; long requests go in slices.
 */
export class WriteQueue {
  readonly #calls: LogCalls
  readonly #onCommit: (ms: number) => void
  readonly #waiting = new FairQueue<Publishing | LongCall>(REDIS_CALL_LIMIT)
  #abandoned = false
  /** Entries that were appended and not followed yet. */
  #ahead = 0
  /** Resolves when the last of them has been followed. */
  #followed: Promise<void> = Promise.resolve()
  #running: Promise<void> | null = null

  /** `onCommit` receives the duration of each publish call to Redis, in milliseconds. */
  constructor(calls: LogCalls, onCommit: (ms: number) => void) {
    this.#calls = calls
    this.#onCommit = onCommit
  }

  /** Appends in the order given. Rejects with a StoreError if too much waits already. */
  publish(items: readonly ShardPublication[]): Promise<readonly PublishOutcome[]> {
    if (this.#abandoned) return Promise.reject(stopping())
    const slices = sliced(
      items,
      ({ item, channels }) => weightOf(item.content, channels.length),
      REDIS_CALL_LIMIT
    )
    const bytes = slices.reduce((sum, slice) => sum + slice.bytes, this.#waiting.bytes)
    if (this.#waiting.size > 0 && bytes > MAX_PENDING_BYTES)
      return Promise.reject(
        new StoreError('unavailable', 'too many notifications are waiting for Redis')
      )
    const waiting: Publishing[] = []
    const outcomes = slices.map(
      (slice) =>
        new Promise<readonly PublishOutcome[]>((resolve, reject) => {
          waiting.push({ ...slice, resolve, reject })
        })
    )
    this.#waiting.push(waiting)
    if (outcomes.length > 0) this.#running ??= this.#run()
    return joinOutcomes(slices, outcomes)
  }

  /** Makes a call, which may occupy Redis for tens of milliseconds, when it is its turn. */
  turn<T>(call: () => Promise<T>): Promise<T> {
    if (this.#abandoned) return Promise.reject(stopping())
    return new Promise((resolve, reject) => {
      this.#waiting.push([
        { ...REDIS_CALL_LIMIT, bytes: 0, run: () => call().then(resolve, reject), reject }
      ])
      this.#running ??= this.#run()
    })
  }

  /** Resolves when every call has its outcome. */
  async idle(): Promise<void> {
    await this.#running
  }

  /** Accepts no more calls, and rejects those that wait. */
  abandon(): void {
    this.#abandoned = true
    for (const { reject } of this.#waiting.clear()) reject(stopping())
  }

  async #run(): Promise<void> {
    // What arrives in one turn of the event loop goes together.
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#waiting.size > 0) {
      const round = this.#waiting.take()
      const [first] = round
      if (first !== undefined && !isPublishing(first)) await first.run()
      else await this.#append(round.filter(isPublishing))
      while (this.#ahead > REDIS_AHEAD_ENTRIES) await this.#followed
    }
    this.#running = null
  }

  async #append(batch: readonly Publishing[]): Promise<void> {
    const args = [randomBytes(9).toString('base64url'), String(IDEMPOTENCY_MS)]
    for (const { items } of batch) for (const item of items) pushItem(args, item)
    const began = performance.now()
    try {
      const { reply, followed } = await this.#calls.append('publish', args, true)
      this.#onCommit(performance.now() - began)
      const entries = batch.reduce((sum, slice) => sum + slice.entries, 0)
      this.#ahead += entries
      // The next call does not wait until this one was followed, unless too many entries are ahead.
      this.#followed = followed.then(() => {
        this.#ahead -= entries
        const outcomes = new ReplyReader(reply).skip()
        for (const { items, resolve } of batch)
          resolve(items.map((item) => outcomeOf(item, outcomes.text())))
      })
    } catch (error) {
      // Calls that arrived meanwhile have waited as long: they must not wait for another time-out.
      for (const { reject } of [...batch, ...this.#waiting.clear()]) reject(error)
    }
  }
}

const stopping = (): StoreError =>
  new StoreError('unavailable', 'the process is stopping and accepts no more writes')

/** The arguments of `publish-2.lua` for one item. */
function pushItem(args: string[], { item, channels }: ShardPublication): void {
  const { id, to, content, key, createdAt, expiresAt, ephemeral, idempotency, producer } = item
  args.push(
    id,
    JSON.stringify(to),
    content,
    key ?? '',
    String(createdAt),
    expiresAt === undefined ? '' : String(expiresAt)
  )
  args.push(ephemeral ? '1' : '', idempotency?.key ?? '', idempotency?.fingerprint ?? '', producer)
  args.push(String(channels.length), ...channels)
}

/** What `publish-2.lua` returns for one item. */
function outcomeOf({ item }: ShardPublication, text: string): PublishOutcome {
  switch (text[0]) {
    case 'r': {
      const [, id = '', createdAt] = text.split(' ')
      return { kind: 'replayed', id, createdAt: Number(createdAt) }
    }
    case 'k':
      return { kind: 'key-reused' }
    case 'x':
      return { kind: 'expired' }
    default:
      return { kind: 'accepted', id: item.id, createdAt: item.createdAt }
  }
}
