import { randomBytes } from 'node:crypto'
import { IDEMPOTENCY_MS, REDIS_BATCH_BYTES, REDIS_BATCH_ENTRIES, REDIS_QUEUE_BYTES } from '../../core/limits.ts'
import { type PublishOutcome, StoreError } from '../../core/store.ts'
import type { RedisLog } from './redis-log.ts'
import type { ShardPublication } from './shard-publication.ts'

interface Request {
  readonly items: readonly ShardPublication[]
  /** Entries that it will make, one for each recipient. */
  readonly entries: number
  readonly bytes: number
  readonly resolve: (outcomes: readonly PublishOutcome[]) => void
  readonly reject: (error: unknown) => void
}

/** Appends notifications: whatever came during the last call goes into the next, in the order in which it came. */
export class PublishQueue {
  readonly #log: RedisLog
  readonly #onCommit: (ms: number) => void
  #waiting: Request[] = []
  #waitingBytes = 0
  #running: Promise<void> | null = null

  constructor(log: RedisLog, onCommit: (ms: number) => void) {
    this.#log = log
    this.#onCommit = onCommit
  }

  publish(items: readonly ShardPublication[]): Promise<readonly PublishOutcome[]> {
    const slices = sliced(items)
    const bytes = slices.reduce((sum, slice) => sum + slice.bytes, 0)
    if (this.#waitingBytes + bytes > REDIS_QUEUE_BYTES)
      return Promise.reject(new StoreError('unavailable', 'more is published than Redis takes'))
    const answers = slices.map(
      (slice) =>
        new Promise<readonly PublishOutcome[]>((resolve, reject) => {
          this.#waiting.push({ ...slice, resolve, reject })
        })
    )
    this.#waitingBytes += bytes
    if (answers.length > 0) this.#running ??= this.#run()
    return answers.length === 1 ? answers[0]! : Promise.all(answers).then((all) => all.flat())
  }

  /** Resolves when everything that was asked for has been answered. */
  async idle(): Promise<void> {
    await this.#running
  }

  async #run(): Promise<void> {
    // What arrives in one turn of the loop goes together.
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#waiting.length > 0) await this.#append(this.#take())
    this.#running = null
  }

  #take(): Request[] {
    let n = 0
    let entries = 0
    let bytes = 0
    for (const request of this.#waiting) {
      if (n > 0 && (entries + request.entries > REDIS_BATCH_ENTRIES || bytes + request.bytes > REDIS_BATCH_BYTES)) break
      n += 1
      entries += request.entries
      bytes += request.bytes
    }
    this.#waitingBytes -= bytes
    return this.#waiting.splice(0, n)
  }

  async #append(batch: readonly Request[]): Promise<void> {
    const args = [randomBytes(9).toString('base64url'), String(IDEMPOTENCY_MS)]
    for (const { items } of batch) for (const item of items) pushItem(args, item)
    const began = performance.now()
    try {
      const { answer, followed } = await this.#log.append('publish', args, true)
      this.#onCommit(performance.now() - began)
      // The next batch need not wait until this one was followed.
      void followed.then(() => {
        let at = 1
        for (const { items, resolve } of batch) resolve(items.map((item) => outcomeOf(item, answer[at++] as string)))
      })
    } catch (error) {
      // Whoever came meanwhile has waited as long: none of them waits another time-out for the same answer.
      for (const { reject } of [...batch, ...this.#waiting]) reject(error)
      this.#waiting = []
      this.#waitingBytes = 0
    }
  }
}

/** Cuts a request into what one call takes; one notification is never cut. */
function sliced(items: readonly ShardPublication[]): Pick<Request, 'items' | 'entries' | 'bytes'>[] {
  const slices: { items: ShardPublication[]; entries: number; bytes: number }[] = []
  for (const one of items) {
    const { item, channels } = one
    const entries = Math.max(1, channels.length)
    const last = slices.at(-1)
    if (last && last.entries + entries <= REDIS_BATCH_ENTRIES && last.bytes + item.content.length <= REDIS_BATCH_BYTES) {
      last.items.push(one)
      last.entries += entries
      last.bytes += item.content.length
    } else slices.push({ items: [one], entries, bytes: item.content.length })
  }
  return slices
}

function pushItem(args: string[], { item, channels }: ShardPublication): void {
  const { id, to, content, key, createdAt, expiresAt, ephemeral, idempotency, producer } = item
  args.push(id, JSON.stringify(to), content, key ?? '', String(createdAt), expiresAt === undefined ? '' : String(expiresAt))
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
