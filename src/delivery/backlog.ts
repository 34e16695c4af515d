import type { Codec } from './codec.ts'
import type { Sink } from './sink.ts'

/** Bytes handed to a slow client at a time, so that every drain is a sign of life. */
const DRAIN_BYTES = 64 * 1024

/**
 * What waits for a client that is behind. It exists from the write that the sink could not take at
 * once until all is taken.
 */
export class Backlog {
  readonly #stallMs: number
  readonly #queue: Buffer[] = []
  #queuedBytes = 0
  #stallAt = 0
  #wake: (() => void) | undefined

  /** The client has `stallMs` milliseconds to take something. */
  constructor(stallMs: number) {
    this.#stallMs = stallMs
    this.progressed()
  }

  get queue(): readonly Buffer[] {
    return this.#queue
  }

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  /** The client is too slow if it has taken nothing by then (monotonic milliseconds). */
  get stallAt(): number {
    return this.#stallAt
  }

  push(bytes: Buffer): void {
    this.#queue.push(bytes)
    this.#queuedBytes += bytes.length
  }

  /** The client took something. */
  progressed(): void {
    this.#stallAt = performance.now() + this.#stallMs
  }

  /** The sink takes bytes again: writes until it is full. True if everything is taken. */
  drain(sink: Sink, codec: Codec): boolean {
    const queue = this.#queue
    while (queue.length > 0) {
      let bytes = 0
      const end = queue.findIndex((one) => {
        bytes += one.length
        return bytes >= DRAIN_BYTES
      })
      const next = queue.splice(0, end < 0 ? queue.length : end + 1)
      this.#queuedBytes -= bytes
      if (!sink.write(codec.join(next))) {
        this.progressed()
        return false
      }
    }
    return true
  }

  /** Resolves when everything is taken or the connection has ended, see {@link wake}. */
  settled(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  wake(): void {
    this.#wake?.()
  }
}
