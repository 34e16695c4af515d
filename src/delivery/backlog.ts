import type { Codec } from './codec.ts'
import type { Sink } from './sink.ts'

/** Bytes written to a slow client at a time, so that each `drained` shows that it reads. */
const FLUSH_BYTES = 64 * 1024

/**
 * Frames that wait for a lagging client. It exists from the first write the sink could not accept
 * in full until everything is flushed.
 */
export class Backlog {
  readonly #stallMs: number
  readonly #queue: Buffer[] = []
  #queuedBytes = 0
  #stallAt = 0
  #wake: (() => void) | undefined

  /** The client has `stallMs` milliseconds to read something. */
  constructor(stallMs: number) {
    this.#stallMs = stallMs
    this.extendDeadline()
  }

  get queue(): readonly Buffer[] {
    return this.#queue
  }

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  /** The client is too slow if it has read nothing by this time (monotonic milliseconds). */
  get stallAt(): number {
    return this.#stallAt
  }

  push(bytes: Buffer): void {
    this.#queue.push(bytes)
    this.#queuedBytes += bytes.length
  }

  /** The client read something: it has the full time again. */
  extendDeadline(): void {
    this.#stallAt = performance.now() + this.#stallMs
  }

  /** This process stalled for `ms` milliseconds: the client gets them back. */
  postponeDeadline(ms: number): void {
    this.#stallAt += ms
  }

  /** Writes until the sink is full. True if everything is flushed. */
  flush(sink: Sink, codec: Codec): boolean {
    const queue = this.#queue
    while (queue.length > 0) {
      let bytes = 0
      let count = 0
      for (const { length } of queue) {
        bytes += length
        count++
        if (bytes >= FLUSH_BYTES) break
      }
      const next = queue.splice(0, count)
      this.#queuedBytes -= bytes
      if (!sink.write(codec.join(next))) {
        this.extendDeadline()
        return false
      }
    }
    return true
  }

  /** Resolves when everything is flushed or the connection has ended, see {@link wake}. */
  flushedOrEnded(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  /** Resolves {@link flushedOrEnded}. */
  wake(): void {
    this.#wake?.()
  }
}
