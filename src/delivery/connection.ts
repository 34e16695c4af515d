import { Backlog } from './backlog.ts'
import { CLOSE_REASONS, type CloseReason, goodbyeFrame } from './close-reason.ts'
import { encodeFollowed } from './encode-followed.ts'
import type { EncodedEvent } from './encoded-event.ts'
import type { SharedFrames } from './fan-out.ts'
import { type Opening, Receiver, type ReceiverHost } from './receiver.ts'
import { Replay, type ReplayStart } from './replay.ts'
import type { Sink } from './sink.ts'

/**
 * `replaying` reads the log and holds what is followed meanwhile; `live` writes; `blocked` queues
 * for a client that is behind. `closed` is final and has no sink: a write after the end does not
 * compile.
 */
type State =
  | {
      readonly phase: 'replaying'
      readonly sink: Sink
      readonly replay: Replay
      /** Null while the client keeps up. */
      backlog: Backlog | null
    }
  | { readonly phase: 'live'; readonly sink: Sink }
  | { readonly phase: 'blocked'; readonly sink: Sink; readonly backlog: Backlog }
  | { readonly phase: 'closed' }

type Replaying = Extract<State, { phase: 'replaying' }>

/** One open stream of one subscriber. It owns its sink; nobody else writes to it. */
export class Connection extends Receiver {
  #state: State
  /** Monotonic milliseconds. */
  #lastWriteAt = 0
  #stale = false

  constructor(host: ReceiverHost, opening: Opening) {
    super(host, opening)
    const { sink, after } = opening
    const start = { after, sendReady: true }
    const replay = new Replay(host, this, this.client, { start })
    this.#state = { phase: 'replaying', sink, replay, backlog: null }
  }

  get phase(): State['phase'] {
    return this.#state.phase
  }

  get bufferedBytes(): number {
    const state = this.#state
    if (state.phase === 'closed') return 0
    return state.sink.bufferedBytes + (this.#backlog?.queuedBytes ?? 0)
  }

  /** See {@link Sink.peer}; null once it is closed. */
  get peer(): string | null {
    return this.#state.phase === 'closed' ? null : this.#state.sink.peer
  }

  get stallAt(): number | null {
    return this.#backlog?.stallAt ?? null
  }

  get stale(): boolean {
    return this.#stale
  }

  /** Closes it at the second stale sample in a row: the first lets an operator see it. */
  sampled(stale: boolean): void {
    if (stale && this.#stale) this.close('stale')
    else this.#stale = stale
  }

  async begin(): Promise<void> {
    if (this.#state.phase === 'replaying') await this.#run(this.#state)
  }

  deliverShared(shared: SharedFrames): void {
    const { phase } = this.#state
    if ((phase !== 'live' && phase !== 'blocked') || shared.firstSeq <= this.client.seq)
      return this.deliver(shared.events)
    this.client.sent(shared.lastSeq)
    this.client.created(shared.created)
    if (shared.changesCounts) this.client.invalidateCounts()
    this.#send(shared.bytes, shared.events.length)
  }

  deliver(events: readonly EncodedEvent[]): void {
    const state = this.#state
    if (state.phase === 'closed') return
    if (state.phase === 'replaying') return state.replay.hold(events)
    const { frames, rest } = encodeFollowed(events, this.codec, this.client)
    this.#sendAll(frames)
    // Only a read yields the counts of the next event; it brings that event and those behind it.
    if (rest.length > 0) this.#replay(null, rest)
  }

  /** The next heartbeat carries them. */
  invalidateCounts(): void {
    this.client.invalidateCounts()
    if (this.#state.phase === 'replaying') this.#state.replay.invalidateCounts()
  }

  restart(): void {
    this.client.restart()
    // A replay has read the log as it was. The client returns with a cursor that says so.
    if (this.#state.phase === 'replaying') this.close('rotate')
    else this.#replay({ reset: 'store_changed' })
  }

  /** One turn of the heartbeat wheel. True if a frame was written, or will be once it is read. */
  beat(now: number): boolean {
    if (this.#state.phase !== 'live') return false
    const { codec, fanOut, client } = this
    if (!client.countsKnown && fanOut.log.healthy) {
      this.#replay(null)
      return true
    }
    // A frame of the last second serves as well. Proxies would not wait for much longer.
    if (now - this.#lastWriteAt < Math.min(1000, this.host.heartbeatMs / 2)) return false
    this.#send(fanOut.heartbeat(codec, client), 1)
    return true
  }

  /** The client took bytes, but too few for the sink to take more: it reads, however slowly. */
  progressed(): void {
    this.#backlog?.progressed()
  }

  /** The sink takes bytes again. */
  drained(): void {
    const state = this.#state
    const backlog = this.#backlog
    if (state.phase === 'closed' || !backlog?.drain(state.sink, this.codec)) return
    if (state.phase === 'blocked') this.#enter({ phase: 'live', sink: state.sink })
    else if (state.phase === 'replaying') state.backlog = null
    backlog.wake()
  }

  /** Ends it, once: the phase first, then the sink, then the hub. */
  close(reason: CloseReason): void {
    const state = this.#state
    if (state.phase === 'closed') return
    const backlog = this.#backlog
    const cursor = this.client.sentCursor
    this.#enter({ phase: 'closed' })
    if (CLOSE_REASONS[reason].goodbye) {
      const goodbye = goodbyeFrame(this.codec, reason, cursor)
      // Frames that the cursor covers go out first, or the client would never ask for them again.
      state.sink.end(this.codec.join([...(backlog?.queue ?? []), goodbye]), reason)
    } else state.sink.destroy(reason)
    backlog?.wake()
    this.host.closed(this, reason)
  }

  /** Every change of phase; nothing leaves `closed`. */
  #enter(next: State): void {
    if (this.#state.phase !== 'closed') this.#state = next
  }

  get #backlog(): Backlog | null {
    const state = this.#state
    return state.phase === 'replaying' || state.phase === 'blocked' ? state.backlog : null
  }

  #sendAll(frames: readonly Buffer[]): void {
    if (frames.length > 0) this.#send(this.codec.join(frames), frames.length)
  }

  #send(bytes: Buffer, frames: number): void {
    const state = this.#state
    if (state.phase === 'closed') return
    this.sending(frames)
    if (state.phase === 'blocked') {
      state.backlog.push(bytes)
      if (this.bufferedBytes > this.host.maxBufferedBytes) this.close('slow')
      return
    }
    this.#lastWriteAt = performance.now()
    if (state.sink.write(bytes)) return
    if (this.bufferedBytes > this.host.maxBufferedBytes + bytes.length) return this.close('slow')
    const backlog = new Backlog(this.host.stallMs)
    if (state.phase === 'replaying') state.backlog = backlog
    else this.#enter({ phase: 'blocked', sink: state.sink, backlog })
  }

  /** Reads the log again, from `start` or, if that is null, behind what the client has had. */
  #replay(start: ReplayStart | null, held: readonly EncodedEvent[] = []): void {
    const state = this.#state
    if (state.phase !== 'live' && state.phase !== 'blocked') return
    const replay = new Replay(this.host, this, this.client, { start, held })
    const next = { phase: 'replaying', sink: state.sink, replay, backlog: this.#backlog } as const
    this.#enter(next)
    void this.#run(next)
  }

  /** Sends page by page at the client's pace, then goes live and hands over what was held. */
  async #run(state: Replaying): Promise<void> {
    const { sink, replay } = state
    try {
      if (state.backlog) await state.backlog.settled()
      while (this.#state === state && replay.held === null) {
        const encode = await replay.read()
        if (this.#state !== state) return
        this.#sendAll(encode())
        if (state.backlog) await state.backlog.settled()
      }
      if (this.#state !== state) return
      this.#enter({ phase: 'live', sink })
      this.deliver(replay.held ?? [])
    } catch (error) {
      this.host.observer.failed(this, error)
      this.close('unavailable')
    }
  }
}
