import { MAX_PAGE_BYTES } from '../bounds/limits.ts'
import { encodeLive } from './encode-live.ts'
import type { EncodedEvent } from './encoded-event.ts'
import type { SharedFrames } from './fan-out.ts'
import type { CloseReason } from './goodbye.ts'
import { type Opening, Receiver, type ReceiverHost } from './receiver.ts'
import { Replay, type ReplayStart } from './replay.ts'
import type { Sink } from './sink.ts'

/** Constructor parameters of a poll. */
export interface PollOpening extends Opening {
  /** Maximum number of log events in the answer. */
  readonly limit: number
  /** If false, the poll ends as soon as it has read the log, even if it found nothing. */
  readonly waits: boolean
}

/** `replaying` reads the log, `live` waits for an event, `closed` is final. */
type State =
  | { readonly phase: 'replaying'; readonly sink: Sink; readonly replay: Replay }
  | { readonly phase: 'live'; readonly sink: Sink }
  | { readonly phase: 'closed'; readonly more: boolean }

/** One request for events, answered in one write with the first frames available. */
export class Poll extends Receiver {
  /** A poll writes once, so it never lags. */
  readonly bufferedBytes = 0
  readonly stallAt = null
  readonly stale = false
  readonly #limit: number
  readonly #waits: boolean
  #state: State

  constructor(host: ReceiverHost, opening: PollOpening) {
    super(host, opening)
    const { sink, cursor, limit, waits } = opening
    this.#limit = limit
    this.#waits = waits
    this.#state = this.#replayState(sink, { cursor, sendReady: false }, [])
  }

  get phase(): State['phase'] {
    return this.#state.phase
  }

  /** True if the log has more events after {@link cursor}. */
  get more(): boolean {
    const state = this.#state
    if (state.phase === 'live') return false
    return state.phase === 'closed' ? state.more : state.replay.more
  }

  /** Nothing to excuse, see {@link stallAt}. */
  excuseStall(): void {}

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
    const { frames, rest, isFull } = encodeLive(events, this.codec, this.client, limits)
    if (rest.length === 0) this.client.nothingDueUpTo(this.fanOut.position)
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

  /** Ends it. If it was waiting, its cursor skips the events that were not for this client. */
  close(reason: CloseReason): void {
    const state = this.#state
    if (state.phase === 'closed') return
    if (state.phase === 'live') this.client.nothingDueUpTo(this.fanOut.position)
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

  #replayState(
    sink: Sink,
    start: ReplayStart | null,
    held: readonly EncodedEvent[]
  ): Extract<State, { phase: 'replaying' }> {
    // Counts that the client kept from an earlier answer may include events of this one.
    const options = { start, held, limit: this.#limit, countsMayLead: true }
    return { phase: 'replaying', sink, replay: new Replay(this.host, this, this.client, options) }
  }

  #replay(sink: Sink, start: ReplayStart | null, held: readonly EncodedEvent[]): void {
    const state = this.#replayState(sink, start, held)
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
