import { MAX_PAGE_BYTES } from '../bounds/limits.ts'
import type { CloseReason } from './close-reason.ts'
import { encodeFollowed } from './encode-followed.ts'
import type { EncodedEvent } from './encoded-event.ts'
import type { SharedFrames } from './fan-out.ts'
import { type Opening, Receiver, type ReceiverHost } from './receiver.ts'
import { Replay, type ReplayStart } from './replay.ts'
import type { Sink } from './sink.ts'

/** What a poll is opened with. */
export interface PollOpening extends Opening {
  /** Most events of the log in the answer. */
  readonly limit: number
  /** False ends the poll once it has read the log, even if there was nothing. */
  readonly waits: boolean
}

/** `replaying` reads the log, `live` waits for an event, `closed` is final. */
type State =
  | { readonly phase: 'replaying'; readonly sink: Sink; readonly replay: Replay }
  | { readonly phase: 'live'; readonly sink: Sink }
  | { readonly phase: 'closed'; readonly more: boolean }

/** One request for events, answered by the first frames that there are, in one write. */
export class Poll extends Receiver {
  /** One write is never behind. */
  readonly bufferedBytes = 0
  readonly stallAt = null
  readonly stale = false
  readonly #limit: number
  readonly #waits: boolean
  #state: State

  constructor(host: ReceiverHost, opening: PollOpening) {
    super(host, opening)
    const { sink, after, limit, waits } = opening
    this.#limit = limit
    this.#waits = waits
    this.#state = this.#replaying(sink, { after, sendReady: false }, [])
  }

  get phase(): State['phase'] {
    return this.#state.phase
  }

  /** True if the log holds more behind {@link cursor} than the answer did. */
  get more(): boolean {
    const state = this.#state
    if (state.phase === 'live') return false
    return state.phase === 'closed' ? state.more : state.replay.more
  }

  async begin(): Promise<void> {
    if (this.#state.phase === 'replaying') await this.#run(this.#state)
  }

  deliverShared(shared: SharedFrames): void {
    this.deliver(shared.events)
  }

  deliver(events: readonly EncodedEvent[]): void {
    const state = this.#state
    if (state.phase === 'closed') return
    if (state.phase === 'replaying') return state.replay.hold(events)
    const limits = { events: this.#limit, bytes: MAX_PAGE_BYTES }
    const { frames, rest, isFull } = encodeFollowed(events, this.codec, this.client, limits)
    if (rest.length === 0) this.client.passed(this.fanOut.position)
    if (frames.length > 0) this.#answer(state.sink, frames, isFull)
    else if (rest.length > 0) this.#replay(state.sink, null, rest)
  }

  /** A poll gets no heartbeat that could carry new counts: it reads them, and answers with them. */
  invalidateCounts(): void {
    const state = this.#state
    this.client.invalidateCounts()
    if (state.phase === 'replaying') state.replay.invalidateCounts()
    else if (state.phase === 'live') this.#replay(state.sink, null, [])
  }

  restart(): void {
    const state = this.#state
    this.client.restart()
    if (state.phase === 'replaying') this.close('rotate')
    else if (state.phase === 'live') this.#replay(state.sink, { reset: 'store_changed' }, [])
  }

  /** Ends it. If it was waiting, its cursor moves past everything that was not for this client. */
  close(reason: CloseReason): void {
    const state = this.#state
    if (state.phase === 'closed') return
    if (state.phase === 'live') this.client.passed(this.fanOut.position)
    this.#state = { phase: 'closed', more: this.more }
    state.sink.end(null, reason)
    this.host.closed(this, reason)
  }

  #answer(sink: Sink, frames: readonly Buffer[], more: boolean): void {
    this.#state = { phase: 'closed', more }
    this.sending(frames.length)
    sink.write(this.codec.join(frames))
    this.host.closed(this, 'closed')
  }

  #replaying(
    sink: Sink,
    start: ReplayStart | null,
    held: readonly EncodedEvent[]
  ): Extract<State, { phase: 'replaying' }> {
    const options = { start, held, limit: this.#limit, countsMayLead: true }
    return { phase: 'replaying', sink, replay: new Replay(this.host, this, this.client, options) }
  }

  #replay(sink: Sink, start: ReplayStart | null, held: readonly EncodedEvent[]): void {
    const state = this.#replaying(sink, start, held)
    this.#state = state
    void this.#run(state)
  }

  async #run(state: Extract<State, { phase: 'replaying' }>): Promise<void> {
    const { sink, replay } = state
    try {
      while (replay.held === null) {
        const encode = await replay.read()
        if (this.#state !== state) return
        const frames = encode()
        if (frames.length > 0) return this.#answer(sink, frames, replay.more)
      }
      this.#state = { phase: 'live', sink }
      this.deliver(replay.held)
      if (!this.#waits && this.#state.phase === 'live') this.close('closed')
    } catch (error) {
      this.host.observer.failed(this, error)
      this.close('unavailable')
    }
  }
}
