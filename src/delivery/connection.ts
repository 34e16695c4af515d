import { MAX_HELD_EVENTS, MAX_PAGE_BYTES, REPLAY_PAGE } from '../bounds/limits.ts'
import { scopeOf } from '../log/channel.ts'
import {
  asCursor,
  type Cursor,
  formatCursor,
  type ResetReason,
  resolveCursor
} from '../log/cursor.ts'
import { encodeItem } from '../log/item.ts'
import type { Counts } from '../log/notification.ts'
import type { Store } from '../log/store.ts'
import type { Subscriber } from '../log/subscriber.ts'
import {
  CLOSE_REASONS,
  type CloseReason,
  drawRetryMs,
  OPENING_RETRY_MS,
  retryMsFor
} from './close-reason.ts'
import type { Codec } from './codec.ts'
import { encodeCounts, Outgoing } from './encoded-event.ts'
import type { Lane } from './fan-out.ts'
import type { ObservedConnection, Observer } from './observer.ts'
import type { Sink } from './sink.ts'

/** Bytes handed to a slow reader at a time, so that every drain is a sign of life. */
const DRAIN_BYTES = 64 * 1024

/** Frames that every connection of a group gets alike, already joined. */
export interface Run {
  readonly outgoing: readonly Outgoing[]
  readonly bytes: Buffer
  readonly first: number
  readonly last: number
  /** How many of them add one to the counts of who reads them. */
  readonly created: number
  /** True where counts may have changed in a way that only the store knows. */
  readonly recount: boolean
}

/** What a connection needs from the hub that holds it. */
export interface ConnectionHost {
  readonly store: Store
  readonly heartbeatMs: number
  readonly maxBufferedBytes: number
  readonly stallMs: number
  /** Name of this process, in the ids of its connections. */
  readonly node: string
  readonly observer: Observer
  /** The connection has ended: nothing may keep it any longer. */
  closed(connection: Connection, reason: CloseReason): void
}

/** What a transport asks for when it opens a connection. */
export interface OpenRequest {
  readonly subscriber: Subscriber
  /** Topics to read; default all exact names of the credential. */
  readonly topics?: readonly string[] | undefined
  readonly sink: Sink
  readonly codec: Codec
  readonly after?: string | undefined
  readonly items?: number | undefined
  readonly announce?: boolean | undefined
  readonly once?: Opening['once']
  /** Of the request that opens it, for the log line; it is not kept. */
  readonly requestId?: string | undefined
}

/** How a connection begins. */
export interface Opening {
  readonly user: string
  readonly topics: readonly string[]
  readonly sink: Sink
  readonly codec: Codec
  /** The cursor the peer came with, whatever it is. */
  readonly after: string | undefined
  /** Items in the page of `ready`. */
  readonly items: number
  /** False for a poll that comes with a cursor: it gets events only. */
  readonly announce: boolean
  /** For a sink that takes one write: the most frames it may hold. Such a connection has no heartbeat. */
  readonly once?:
    | {
        readonly limit: number /** False: it ends when the log has been read. */
        readonly waits: boolean
      }
    | undefined
  /** Monotonic milliseconds (`performance.now()`) at which it ends, and why. */
  readonly closeAt: number
  readonly closeReason: CloseReason
}

/**
 * `replaying` reads the log and holds what is followed meanwhile; `live` writes; `blocked` queues for a reader that is behind.
 * `closed` is terminal and holds no sink: a write after the end does not compile.
 */
type State =
  | {
      readonly phase: 'replaying'
      readonly sink: Sink
      held: Outgoing[] | 'overflow'
      wake: (() => void) | null
      queue: readonly Buffer[]
    }
  | { readonly phase: 'live'; readonly sink: Sink }
  | {
      readonly phase: 'blocked'
      readonly sink: Sink
      readonly queue: Buffer[]
      queuedBytes: number
    }
  | { readonly phase: 'closed'; readonly reason: CloseReason }

/** The public id of a connection; it is looked up by its number again. */
export const connectionId = (node: string, number: number): string =>
  `${node}-${number.toString(36)}`

/** One open transport of one subscriber. It owns its sink; nobody else writes to it. */
export class Connection implements ObservedConnection {
  readonly number: number
  /** The log that its user's events are in. */
  readonly lane: Lane
  readonly user: string
  readonly topics: readonly string[]
  readonly codec: Codec
  readonly transport: Sink['transport']
  readonly remoteAddress: string
  /** Monotonic milliseconds. */
  readonly openedAt: number
  readonly closeAt: number
  readonly closeReason: CloseReason
  /** Where the hub and the heartbeat wheel keep it; theirs alone. */
  groupIndex = -1
  slot = -1
  /** Set by the sampler of the kernel's socket table. */
  stale = false
  frames = 0
  /** Monotonic milliseconds of the last write, and the moment by which a reader that is behind must have taken something (0: none). */
  lastWriteAt = 0
  stallAt = 0

  readonly #host: ConnectionHost
  readonly #announce: boolean
  readonly #once: Opening['once']
  readonly #items: number
  #state: State
  /** Place that this peer has had everything up to, as far as it concerns it; -1 before the first frame. */
  #seq = -1
  /** The part of it that the peer was told by the id of a frame: what moves no cursor repeats this one. */
  #told = -1
  /** What a frame that moves no cursor carries before any other was written: the cursor that the peer came with. */
  #before: Cursor | null
  #epoch: string
  #unread = 0
  #unseen = 0
  /** False if only the store knows the counts: an event that needs them is read from there. */
  #countsKnown = false
  /** True while the counts that the client has may be off: the next frame that may carry counts has to. */
  #countsDue = false
  /** True if counts changed after the last read began: what it brings may be from before. */
  #stale = false
  #more = false

  constructor(host: ConnectionHost, lane: Lane, number: number, opening: Opening) {
    this.#host = host
    this.lane = lane
    this.number = number
    this.user = opening.user
    this.topics = opening.topics
    this.codec = opening.codec
    this.transport = opening.sink.transport
    this.remoteAddress = opening.sink.remoteAddress
    this.openedAt = performance.now()
    this.closeAt = opening.closeAt
    this.closeReason = opening.closeReason
    this.#announce = opening.announce
    this.#once = opening.once
    this.#items = opening.items
    this.#before = asCursor(opening.after)
    this.#epoch = lane.log.epoch
    this.#state = { phase: 'replaying', sink: opening.sink, held: [], wake: null, queue: [] }
  }

  get id(): string {
    return connectionId(this.#host.node, this.number)
  }

  /** False for what is answered once: the heartbeat wheel leaves it alone. */
  get beats(): boolean {
    return this.#once === undefined
  }

  get #pageLimit(): number {
    return this.#once?.limit ?? REPLAY_PAGE
  }

  get phase(): State['phase'] {
    return this.#state.phase
  }

  get bufferedBytes(): number {
    const state = this.#state
    if (state.phase === 'closed') return 0
    return state.sink.bufferedBytes + (state.phase === 'blocked' ? state.queuedBytes : 0)
  }

  /** See {@link Sink.peer}; null once it is closed. */
  get peer(): string | null {
    return this.#state.phase === 'closed' ? null : this.#state.sink.peer
  }

  /** The place in the log that the peer has had everything up to; -1 before the first frame. */
  get place(): number {
    return this.#seq
  }

  /** The cursor of that place, null before the first frame. */
  get cursor(): string | null {
    return this.#cursorAt(this.#seq)
  }

  /** True where the page just written was not the last. */
  get more(): boolean {
    return this.#more
  }

  /** Reads what the peer asked for and goes live. Never rejects: trouble with the store ends the connection as `unavailable`. */
  async begin(after: string | undefined): Promise<void> {
    try {
      if (after === undefined) await this.#fresh()
      else {
        const found = await resolveCursor(this.#host.store, this.user, after)
        if ('reset' in found) await this.#fresh(found.reset, found.undone ? after : null)
        else await this.#resume(found.seq, after)
      }
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Hands over what a whole group gets alike. */
  deliverRun(run: Run): void {
    const phase = this.#state.phase
    if ((phase !== 'live' && phase !== 'blocked') || run.first <= this.#seq || this.#once)
      return this.deliver(run.outgoing)
    this.#seq = this.#told = run.last
    this.#unread += run.created
    this.#unseen += run.created
    if (run.recount) this.recount()
    this.#send(run.bytes, run.outgoing.length)
  }

  /** Hands over events, in order; those the peer has had already are skipped. */
  deliver(events: readonly Outgoing[]): void {
    const state = this.#state
    if (state.phase === 'closed') return
    if (state.phase === 'replaying') return this.#hold(state, events)
    const frames: Buffer[] = []
    let logged = 0
    let bytes = 0
    for (let i = 0; i < events.length; i++) {
      const outgoing = events[i]!
      if (this.#once && (logged === this.#once.limit || bytes > MAX_PAGE_BYTES)) {
        this.#more = true
        break
      }
      if (outgoing.seq !== undefined && outgoing.seq <= this.#seq) continue
      const ephemeral = outgoing.event.kind === 'ephemeral'
      const created = outgoing.event.kind === 'notification' && outgoing.event.op === 'created'
      if (
        outgoing.personal
          ? !(this.#countsKnown && (created || ephemeral))
          : this.#once && !(created || ephemeral)
      ) {
        // Its counts are the store's to tell: read on from where we are, which brings this event and those behind it.
        if (frames.length) this.#send(this.codec.join(frames), frames.length)
        return this.#readOn(events.slice(i))
      }
      if (ephemeral) {
        const frame = outgoing.frameAt(
          this.codec,
          this.#toldCursor,
          outgoing.personal ? this.#counts : null
        )
        bytes += frame.length
        frames.push(frame)
        continue
      }
      logged++
      if (created) {
        this.#unread++
        this.#unseen++
      } else this.recount()
      const frame = outgoing.personal
        ? outgoing.personalFrame(this.codec, this.#counts)
        : outgoing.frame(this.codec)
      bytes += frame.length
      frames.push(frame)
      this.#seq = this.#told = outgoing.event.seq
    }
    // The next poll goes on behind everything that was handed over.
    if (this.#once && !this.#more) this.#seq = Math.max(this.#seq, this.lane.position)
    if (frames.length) this.#send(this.codec.join(frames), frames.length)
  }

  /** Counts may have changed without a frame that says so: the next heartbeat carries them. */
  recount(): void {
    this.#countsKnown = false
    this.#countsDue = true
    this.#stale = true
    // A poll has no heartbeat to wait for: it is answered with the counts.
    if (this.#once && this.#state.phase === 'live') this.#readOn([])
  }

  /** The log goes on elsewhere than where it was read: a fresh page takes the place of what lies between. */
  restart(): void {
    const state = this.#state
    if (state.phase === 'closed') return
    // Its place was one of the log that was: no cursor may name it as one of this.
    this.#before = this.#toldCursor
    this.#seq = this.#told = -1
    // What is being read is of the log that was, too; the peer comes back with a cursor that says so.
    if (state.phase === 'replaying') return this.close('rotate')
    const queue = state.phase === 'blocked' ? state.queue : []
    this.#enter({ phase: 'replaying', sink: state.sink, held: [], wake: null, queue })
    this.#fresh('store_changed').catch((error: unknown) => this.#fail(error))
  }

  /** One turn of the heartbeat wheel. True where a frame was written or will be. */
  beat(now: number): boolean {
    if (this.#state.phase !== 'live') return false
    if (this.#countsDue && this.lane.log.healthy) {
      this.#readOn([])
      return true
    }
    // A frame of the last second is as good; more than a second and the peer's proxies would wait too long.
    if (now - this.lastWriteAt < Math.min(1000, this.#host.heartbeatMs / 2)) return false
    // The stream stays open while the log is away. Its cursor waits with the counts: whoever came back with a
    // later one would never get them.
    if (this.#countsDue) {
      this.#send(this.codec.frame('heartbeat', '{}', this.#toldCursor), 1)
      return true
    }
    // A page may have been read ahead of what was followed; a heartbeat never takes the cursor back.
    const ahead = this.#seq > this.lane.position
    if (!ahead) this.#seq = this.lane.position
    this.#told = this.#seq
    this.#send(
      ahead
        ? this.codec.frame('heartbeat', '{}', this.cursor)
        : this.lane.heartbeatFrame(this.codec),
      1
    )
    return true
  }

  /** The peer has taken bytes, though not yet enough for the sink to take more: it reads, however slowly. */
  taking(): void {
    if (this.stallAt > 0) this.stallAt = performance.now() + this.#host.stallMs
  }

  /** The sink takes bytes again. */
  drained(): void {
    const state = this.#state
    if (state.phase === 'closed' || state.phase === 'live') return
    this.stallAt = 0
    if (state.phase === 'replaying') {
      state.wake?.()
      return
    }
    let bytes = 0
    let n = 0
    while (n < state.queue.length && bytes < DRAIN_BYTES) bytes += state.queue[n++]!.length
    state.queuedBytes -= bytes
    const next = state.queue.splice(0, n)
    const flowing = next.length === 0 || state.sink.write(this.codec.join(next))
    if (flowing && state.queue.length === 0) this.#enter({ phase: 'live', sink: state.sink })
    else if (flowing) this.drained()
    else this.stallAt = performance.now() + this.#host.stallMs
  }

  /** Ends it, once: the phase first, then the sink, then the hub. */
  close(reason: CloseReason): void {
    const state = this.#state
    if (state.phase === 'closed') return
    // An empty answer moves the cursor past what was not for this peer, as a heartbeat would.
    if (this.#once && state.phase === 'live') this.#seq = Math.max(this.#seq, this.lane.position)
    const cursor = this.#toldCursor
    this.#enter({ phase: 'closed', reason })
    if (CLOSE_REASONS[reason].goodbye) {
      const retryMs = retryMsFor(reason)
      const goodbye = this.codec.frame(
        'goodbye',
        `{"reason":"${reason}","retryMs":${retryMs}}`,
        cursor,
        retryMs
      )
      // What the cursor covers goes out before the frame that tells it, or the peer would never ask for it again.
      state.sink.end(
        state.phase === 'live' ? goodbye : this.codec.join([...state.queue, goodbye]),
        reason
      )
    } else state.sink.destroy(reason)
    if (state.phase === 'replaying') state.wake?.()
    this.#host.closed(this, reason)
  }

  /** Every change of phase; nothing leaves `closed`. */
  #enter(next: State): void {
    if (this.#state.phase !== 'closed') this.#state = next
  }

  #fail(error: unknown): void {
    this.#host.observer.failed(this, error)
    this.close('unavailable')
  }

  #hold(state: State & { phase: 'replaying' }, events: readonly Outgoing[]): void {
    if (state.held === 'overflow') return
    if (state.held.length + events.length > MAX_HELD_EVENTS) state.held = 'overflow'
    else state.held.push(...events)
  }

  #send(bytes: Buffer, frames: number): void {
    const state = this.#state
    if (state.phase === 'closed') return
    this.frames += frames
    this.#host.observer.wrote(frames)
    if (state.phase === 'blocked') {
      state.queue.push(bytes)
      state.queuedBytes += bytes.length
      if (this.bufferedBytes > this.#host.maxBufferedBytes) this.close('slow')
      return
    }
    this.lastWriteAt = performance.now()
    if (state.sink.write(bytes)) return
    if (this.bufferedBytes > this.#host.maxBufferedBytes + bytes.length) return this.close('slow')
    this.stallAt = this.lastWriteAt + this.#host.stallMs
    if (state.phase === 'live')
      this.#enter({ phase: 'blocked', sink: state.sink, queue: [], queuedBytes: 0 })
  }

  /** Writes a page at the reader's pace: waits until the peer has taken it, or is gone. */
  async #sendAndWait(frames: readonly Buffer[]): Promise<void> {
    if (frames.length) this.#send(this.codec.join(frames), frames.length)
    const state = this.#state
    if (state.phase !== 'replaying' || this.stallAt === 0) return
    await new Promise<void>((resolve) => {
      state.wake = resolve
    })
    state.wake = null
  }

  /** The newest page, as `ready` or as `reset`; then live. */
  async #fresh(reset: ResetReason | null = null, undone: string | null = null): Promise<void> {
    const { store } = this.#host
    this.#beginRead()
    const page = await store.inbox(this.user, this.#scope(), { status: 'all', limit: this.#items })
    if (reset !== null) this.#host.observer.reset(this, reset, undone)
    this.#setCounts(page.counts)
    this.#countsDue = this.#stale
    this.#epoch = this.lane.log.epoch
    const first = this.#seq < 0
    this.#seq = this.#told = page.head
    const list = page.items.map(({ entry, channel, marks }) =>
      encodeItem(entry, channel, formatCursor(this.#epoch, entry.seq), marks)
    )
    const data = this.#readyData(false, `[${list.join(',')}]`, reset)
    const retryMs = first ? drawRetryMs(OPENING_RETRY_MS) : null
    const lead = [this.codec.frame(reset === null ? 'ready' : 'reset', data, this.cursor, retryMs)]
    await this.#catchUp({
      lead,
      page: { events: [], upTo: page.head, more: false, counts: page.counts, recount: false }
    })
  }

  async #resume(seq: number, cursor: string): Promise<void> {
    this.#beginRead()
    const page = await this.#host.store.read(this.user, this.#scope(), seq, this.#pageLimit)
    if ('gap' in page) return this.#fresh('cursor_too_old')
    this.#setCounts(page.counts)
    this.#countsDue = this.#stale || (!this.#announce && page.recount)
    this.#epoch = this.lane.log.epoch
    this.#seq = this.#told = seq
    const ready = this.codec.frame(
      'ready',
      this.#readyData(true, '[]', null),
      cursor,
      drawRetryMs(OPENING_RETRY_MS)
    )
    await this.#catchUp({ lead: this.#announce ? [ready] : [], page })
  }

  /** Goes back to reading the log, from a live connection. */
  #readOn(events: readonly Outgoing[]): void {
    const state = this.#state
    if (state.phase === 'closed' || state.phase === 'replaying') return
    const queue = state.phase === 'blocked' ? state.queue : []
    this.#enter({ phase: 'replaying', sink: state.sink, held: [...events], wake: null, queue })
    this.#catchUp({}).catch((error: unknown) => this.#fail(error))
  }

  /**
   * Reads the log after the cursor, page by page at the reader's pace, until a page reaches what is being followed; then
   * releases what was held meanwhile and is newer. Exactly once at the seam.
   */
  async #catchUp(from: {
    lead?: Buffer[]
    page?: Awaited<ReturnType<Store['read']>>
  }): Promise<void> {
    const { store } = this.#host
    await this.#sendQueue()
    let lead = from.lead ?? []
    let page = from.page
    // True if the client may have counts that include shared events which are still to come: counts are as of the
    // moment of writing, and the client adds one for each such event. A poll cannot know what an answer before it said.
    let ahead = lead.length > 0 || this.#once !== undefined
    for (;;) {
      if (this.#state.phase !== 'replaying') return
      if (!page) {
        this.#beginRead()
        page = await store.read(this.user, this.#scope(), this.#seq, this.#pageLimit)
      }
      if (this.#state.phase !== 'replaying') return
      if ('gap' in page) return this.#fresh('cursor_too_old')
      const frames = lead
      lead = []
      this.#setCounts(page.counts)
      for (const event of page.events) {
        const outgoing = new Outgoing(event, this.lane.log.epoch)
        if (outgoing.personal) {
          frames.push(outgoing.personalFrame(this.codec, page.counts))
          ahead = true
          this.#countsDue = this.#stale
        } else {
          frames.push(outgoing.frame(this.codec))
          if (ahead || event.kind !== 'notification' || event.op !== 'created')
            this.#countsDue = true
        }
        this.#told = event.seq
      }
      this.#seq = Math.max(this.#seq, page.upTo)
      this.#more = page.more
      if (page.events.length) this.#host.observer.replayed(page.events.length)
      if (this.#countsDue && !page.more) {
        frames.push(
          this.codec.frame('heartbeat', `{"counts":${encodeCounts(page.counts)}}`, this.cursor)
        )
        this.#told = this.#seq
        this.#countsDue = this.#stale
      }
      await this.#sendAndWait(frames)
      const state = this.#state
      if (state.phase !== 'replaying') return
      if (!page.more && state.held !== 'overflow') break
      page = undefined
    }
    const state = this.#state
    if (state.phase !== 'replaying' || state.held === 'overflow') return
    const held = state.held
    this.#enter({ phase: 'live', sink: state.sink })
    this.deliver(held)
    // A poll that has been answered is closed by its sink.
    if (!this.#once || this.frames > 0) return
    if (this.#countsDue) this.#readOn([])
    else if (!this.#once.waits) this.close('closed')
  }

  /** Writes what was queued while the reader was behind, once it takes bytes again. */
  async #sendQueue(): Promise<void> {
    const state = this.#state
    if (state.phase !== 'replaying' || state.queue.length === 0) return
    await new Promise<void>((resolve) => {
      state.wake = resolve
    })
    state.wake = null
    if (this.#state.phase !== 'replaying') return
    const { queue } = state
    state.queue = []
    if (!state.sink.write(this.codec.join(queue))) {
      this.stallAt = performance.now() + this.#host.stallMs
      await this.#sendAndWait([])
    }
  }

  /** Before each read: what is followed from here on may not be in it. */
  #beginRead(): void {
    this.#stale = false
    const state = this.#state
    if (state.phase !== 'replaying') return
    // What is in the log will be read from it; an ephemeral event is nowhere else.
    state.held =
      state.held === 'overflow' ? [] : state.held.filter(({ event }) => event.kind === 'ephemeral')
  }

  #cursorAt(place: number): Cursor | null {
    return place < 0 ? null : formatCursor(this.#epoch, place)
  }

  /** The id of the newest frame, for one that moves no cursor. */
  get #toldCursor(): Cursor | null {
    return this.#cursorAt(this.#told) ?? this.#before
  }

  get #counts(): Counts {
    return { unread: this.#unread, unseen: this.#unseen }
  }

  #setCounts(counts: Counts): void {
    this.#unread = counts.unread
    this.#unseen = counts.unseen
    this.#countsKnown = !this.#stale
  }

  #scope() {
    return scopeOf(this.user, this.topics)
  }

  #readyData(resumed: boolean, items: string, reset: ResetReason | null): string {
    return `{"connection":"${this.id}","user":"${this.user}","topics":${JSON.stringify(this.topics)},"resumed":${resumed},"items":${items},"counts":${encodeCounts(this.#counts)},"heartbeatMs":${this.#host.heartbeatMs}${reset === null ? '' : `,"reason":"${reset}"`}}`
  }
}
