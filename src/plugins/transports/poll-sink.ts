import type { Poll } from '../../delivery/poll.ts'
import type { Sink } from '../../delivery/sink.ts'

/**
 * The result of a poll: the events as JSON elements, the cursor after them, and whether more wait.
 */
export interface PollAnswer {
  readonly events: string
  /** Null if the poll ended before it had read the log. */
  readonly cursor: string | null
  readonly more: boolean
}

/**
 * A sink whose first write is the whole response; if it ends without a write, the response is
 * empty.
 */
export class PollSink implements Sink {
  readonly transport = 'poll'
  readonly peer = null
  readonly remoteAddress: string
  readonly bufferedBytes = 0
  #answer: ((answer: PollAnswer) => void) | undefined
  #poll: Poll | undefined
  #events: Buffer | undefined
  #done: (() => void) | undefined

  constructor(remoteAddress: string, answer: (answer: PollAnswer) => void) {
    this.remoteAddress = remoteAddress
    this.#answer = answer
  }

  /** Calls `done` when the poll is answered, at once if it already is. */
  answered(done: () => void): void {
    if (this.#answer) this.#done = done
    else done()
  }

  /** Sets the poll whose cursor the answer contains. Call it before anything is written. */
  connect(poll: Poll): void {
    this.#poll = poll
  }

  write(bytes: Buffer): boolean {
    this.#events ??= bytes
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
    const poll = this.#poll
    if (!answer || !poll) return
    this.#answer = undefined
    this.#done?.()
    answer({
      events: this.#events?.toString() ?? '',
      cursor: poll.cursor,
      more: poll.more
    })
  }
}
