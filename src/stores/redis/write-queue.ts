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
import type { RedisLog } from './redis-log.ts'
import type { ShardPublication } from './shard-publication.ts'

interface Publishing extends Slice<ShardPublication> {
  readonly resolve: (outcomes: readonly PublishOutcome[]) => void
  readonly reject: (error: unknown) => void
}

/** A long call of another kind, which is alone in its round. */
interface LongCall extends Weight {
  readonly run: () => Promise<void>
  readonly reject: (error: unknown) => void
}

/**
 * What is long for Redis waits here, and notifications, so that all take turns: whatever came during the last call goes into the next,
 * long requests in slices.
 */
export class WriteQueue {
  readonly #log: RedisLog
  readonly #onCommit: (ms: number) => void
  readonly #waiting = new FairQueue<Publishing | LongCall>(REDIS_CALL_LIMIT)
  #abandoned = false
  /** Entries that were appended and not followed yet, and the last moment at which that ends. */
  #ahead = 0
  #followed: Promise<void> = Promise.resolve()
  #running: Promise<void> | null = null

  constructor(log: RedisLog, onCommit: (ms: number) => void) {
    this.#log = log
    this.#onCommit = onCommit
  }

  publish(items: readonly ShardPublication[]): Promise<readonly PublishOutcome[]> {
    if (this.#abandoned) return Promise.reject(stopping())
    const slices = sliced(
      items,
      ({ item, channels }) => weightOf(item.content, channels.length),
      REDIS_CALL_LIMIT
    )
    const bytes = slices.reduce((sum, slice) => sum + slice.bytes, this.#waiting.bytes)
    if (this.#waiting.size > 0 && bytes > MAX_PENDING_BYTES)
      return Promise.reject(new StoreError('unavailable', 'more is published than Redis takes'))
    const waiting: Publishing[] = []
    const answers = slices.map(
      (slice) =>
        new Promise<readonly PublishOutcome[]>((resolve, reject) => {
          waiting.push({ ...slice, resolve, reject })
        })
    )
    this.#waiting.push(waiting)
    if (answers.length > 0) this.#running ??= this.#run()
    return joinOutcomes(slices, answers)
  }

  /** Makes a call that may take Redis some tens of milliseconds, when it is its turn. */
  turn<T>(call: () => Promise<T>): Promise<T> {
    if (this.#abandoned) return Promise.reject(stopping())
    return new Promise((resolve, reject) => {
      this.#waiting.push([
        { ...REDIS_CALL_LIMIT, bytes: 0, run: () => call().then(resolve, reject), reject }
      ])
      this.#running ??= this.#run()
    })
  }

  /** Resolves when everything that was asked for has been answered. */
  async idle(): Promise<void> {
    await this.#running
  }

  /** Takes nothing more, and fails what waits for a call. */
  abandon(): void {
    this.#abandoned = true
    for (const { reject } of this.#waiting.clear()) reject(stopping())
  }

  async #run(): Promise<void> {
    // What arrives in one turn of the loop goes together.
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#waiting.size > 0) {
      const round = this.#waiting.take()
      const [first] = round
      if (first !== undefined && 'run' in first) await first.run()
      else await this.#append(round as Publishing[])
      while (this.#ahead > REDIS_AHEAD_ENTRIES) await this.#followed
    }
    this.#running = null
  }

  async #append(batch: readonly Publishing[]): Promise<void> {
    const args = [randomBytes(9).toString('base64url'), String(IDEMPOTENCY_MS)]
    for (const { items } of batch) for (const item of items) pushItem(args, item)
    const began = performance.now()
    try {
      const { answer, followed } = await this.#log.append('publish', args, true)
      this.#onCommit(performance.now() - began)
      const entries = batch.reduce((sum, slice) => sum + slice.entries, 0)
      this.#ahead += entries
      // The next call need not wait until this one was followed, unless that is far behind.
      this.#followed = followed.then(() => {
        this.#ahead -= entries
        let at = 1
        for (const { items, resolve } of batch)
          resolve(items.map((item) => outcomeOf(item, answer[at++] as string)))
      })
    } catch (error) {
      // Whoever came meanwhile has waited as long: none of them waits another time-out for the same answer.
      for (const { reject } of [...batch, ...this.#waiting.clear()]) reject(error)
    }
  }
}

const stopping = (): StoreError =>
  new StoreError('unavailable', 'the process is stopping and takes no more writes')

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

function outcomeOf({ item }: ShardPublication, answer: string): PublishOutcome {
  switch (answer[0]) {
    case 'r': {
      const [, id = '', createdAt] = answer.split(' ')
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
