import type { Poll } from '../../delivery/poll.ts'
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
  #poll: Poll | undefined
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
