import { Backlog } from './backlog.ts'
import { encodeLive } from './encode-live.ts'
import type { EncodedEvent } from './encoded-event.ts'
import type { SharedFrames } from './fan-out.ts'
import { CLOSE_REASONS, type CloseReason, goodbyeFrame } from './goodbye.ts'
import { type Opening, Receiver, type ReceiverHost } from './receiver.ts'
import { Replay, type ReplayStart } from './replay.ts'
import type { Sink } from './sink.ts'

/**
 * `replaying` reads the log and holds live events; `live` writes; `blocked` queues for a lagging
 * client. `closed` is final and has no sink: a write after the end does not compile.
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

/** An open stream or socket of one subscriber. It owns its sink: nothing else writes to it. */
export class Connection extends Receiver {
  #state: State
  /** Monotonic milliseconds. */
  #lastWriteAt = 0
  #stale = false

  constructor(host: ReceiverHost, opening: Opening) {
    super(host, opening)
    const { sink, cursor } = opening
    const start = { cursor, sendReady: true }
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

  excuseStall(ms: number): void {
    this.#backlog?.postponeDeadline(ms)
  }

  get stale(): boolean {
    return this.#stale
  }

  /** One stale sample only marks it for an operator to see; a second in a row closes it. */
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
    this.client.sentUpTo(shared.lastSeq)
    this.client.addCreated(shared.created)
    if (shared.changesCounts) this.client.invalidateCounts()
    this.#send(shared.bytes, shared.events.length)
  }

  deliver(events: readonly EncodedEvent[]): void {
    const state = this.#state
    if (state.phase === 'closed') return
    if (state.phase === 'replaying') return state.replay.hold(events)
    const { frames, rest } = encodeLive(events, this.codec, this.client)
    this.#sendAll(frames)
    // Only the store knows the counts after the next event: go on by reading the log. The rest is
    // held, because ephemeral events are in no log.
    if (rest.length > 0) this.#replay(null, rest)
  }

  /** The next heartbeat carries the new counts. */
  invalidateCounts(): void {
    this.client.invalidateCounts()
    if (this.#state.phase === 'replaying') this.#state.replay.invalidateCounts()
  }

  restart(): void {
    this.client.restart()
    // The replay has read the old log, so close: the client reconnects with its old cursor.
    if (this.#state.phase === 'replaying') this.close('rotate')
    else this.#replay({ reset: 'store_changed' })
  }

  /** Called by the heartbeat wheel. True if a frame was written, or will be after a replay. */
  beat(now: number): boolean {
    if (this.#state.phase !== 'live') return false
    const { codec, fanOut, client } = this
    if (!client.countsKnown && fanOut.log.healthy) {
      this.#replay(null)
      return true
    }
    // A frame of the last second replaces this heartbeat. An older one does not: the silence could
    // exceed the time-out of a proxy.
    if (now - this.#lastWriteAt < Math.min(1000, this.host.heartbeatMs / 2)) return false
    this.#send(fanOut.nextHeartbeat(codec, client), 1)
    return true
  }

  /** The client read some bytes, but too few for the sink to accept more: slow, not stalled. */
  readSomething(): void {
    this.#backlog?.extendDeadline()
  }

  /** The sink accepts bytes again. */
  drained(): void {
    const state = this.#state
    const backlog = this.#backlog
    if (state.phase === 'closed' || !backlog?.flush(state.sink, this.codec)) return
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
      // The queue first: the goodbye's cursor covers it, so the client would never ask for it.
      state.sink.end(this.codec.join([...(backlog?.queue ?? []), goodbye]), reason)
    } else state.sink.destroy(reason)
    backlog?.wake()
    this.host.closed(this, reason)
  }

  /** All phase changes go through here; `closed` is final. */
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
    // This write does not count: one large page must not close a client that kept up.
    if (this.bufferedBytes > this.host.maxBufferedBytes + bytes.length) return this.close('slow')
    const backlog = new Backlog(this.host.stallMs)
    if (state.phase === 'replaying') state.backlog = backlog
    else this.#enter({ phase: 'blocked', sink: state.sink, backlog })
  }

  /** Reads the log again: from `start` or, if that is null, after what the client has received. */
  #replay(start: ReplayStart | null, held: readonly EncodedEvent[] = []): void {
    const state = this.#state
    if (state.phase !== 'live' && state.phase !== 'blocked') return
    const replay = new Replay(this.host, this, this.client, { start, held })
    const next = { phase: 'replaying', sink: state.sink, replay, backlog: this.#backlog } as const
    this.#enter(next)
    void this.#run(next)
  }

  /** Sends page by page at the client's pace, then goes live and delivers the held events. */
  async #run(state: Replaying): Promise<void> {
    const { sink, replay } = state
    try {
      if (state.backlog) await state.backlog.flushedOrEnded()
      while (this.#state === state && replay.held === null) {
        const encode = await replay.read()
        if (this.#state !== state) return
        this.#sendAll(encode())
        if (state.backlog) await state.backlog.flushedOrEnded()
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
