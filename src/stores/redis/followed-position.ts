import { END_OF_STREAM, isAfter, type StreamId } from './stream-id.ts'

interface Waiter {
  readonly id: StreamId
  readonly resolve: () => void
}

/** How far this process has followed the stream, and who waits until it is further. */
export class FollowedPosition {
  #id: StreamId = { seq: 0, sub: 0 }
  #promised = 0
  #waiters: Waiter[] = []

  /** The newest entry that was followed. */
  get id(): StreamId {
    return this.#id
  }

  /** Newest seq that was followed or promised to a caller: Redis must still have it. */
  get known(): number {
    return Math.max(this.#id.seq, this.#promised)
  }

  /** Whether an entry has not been followed yet. */
  isBefore(id: StreamId): boolean {
    return isAfter(id, this.#id)
  }

  /** A caller was promised an entry. */
  promise(seq: number): void {
    this.#promised = Math.max(this.#promised, seq)
  }

  /** Resolves when the entry has been followed, or at {@link release}. */
  reached(id: StreamId): Promise<void> {
    return new Promise((resolve) => this.#waiters.push({ id, resolve }))
  }

  /** Entries up to this one have been followed. */
  advance(id: StreamId): void {
    this.#id = id
    this.#resolveTo(id)
  }

  /** The log begins again, and is followed from this entry on. */
  restart(end: StreamId): void {
    this.#id = end
    this.#promised = 0
    this.release()
  }

  /** Resolves for everyone who waits. */
  release(): void {
    this.#resolveTo(END_OF_STREAM)
  }

  #resolveTo(followed: StreamId): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) {
      if (isAfter(waiter.id, followed)) this.#waiters.push(waiter)
      else waiter.resolve()
    }
  }
}
