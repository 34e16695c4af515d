import type { Connection } from '../../delivery/connection.ts'
import type { Sink } from '../../delivery/sink.ts'

/** What a poll is answered with: the events as JSON elements, the cursor they move to, and whether more wait. */
export interface PollAnswer {
  readonly events: string
  /** Null where the poll ended before it had read anything. */
  readonly cursor: string | null
  readonly more: boolean
}

/** A sink whose first write is the whole answer; its end without a write is the empty one. */
export class PollSink implements Sink {
  readonly transport = 'poll'
  readonly peer = null
  readonly remoteAddress: string
  readonly bufferedBytes = 0
  #answer: ((answer: PollAnswer) => void) | undefined
  #connection: Connection | undefined
  #events: Buffer | undefined
  #done: (() => void) | undefined

  constructor(remoteAddress: string, answer: (answer: PollAnswer) => void) {
    this.remoteAddress = remoteAddress
    this.#answer = answer
  }

  /** Runs when the answer is given. */
  answered(done: () => void): void {
    if (this.#answer) this.#done = done
    else done()
  }

  connect(connection: Connection): void {
    this.#connection = connection
  }

  write(bytes: Buffer): boolean {
    this.#events ??= bytes
    // Answered before the connection counts the bytes, so that nothing follows them.
    queueMicrotask(() => this.#connection?.close('closed'))
    this.#finish()
    return true
  }

  end(): void {
    this.#finish()
  }

  destroy(): void {
    this.#finish()
  }

  #finish(): void {
    const answer = this.#answer
    const connection = this.#connection
    if (!answer || !connection) return
    this.#answer = undefined
    this.#done?.()
    answer({
      events: this.#events?.toString() ?? '',
      cursor: connection.cursor,
      more: connection.more
    })
  }
}
