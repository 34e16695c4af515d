import { MAX_HELD_EVENTS, REPLAY_PAGE } from '../bounds/limits.ts'
import { scopeOf } from '../log/channel.ts'
import { type Cursor, formatCursor, type ResetReason, resolveCursor } from '../log/cursor.ts'
import { encodeItem } from '../log/item.ts'
import type { InboxPage, LogPage } from '../log/store.ts'
import type { ClientState } from './client-state.ts'
import { drawRetryMs, OPENING_RETRY_MS } from './close-reason.ts'
import { EncodedEvent, encodeCounts } from './encoded-event.ts'
import type { Receiver, ReceiverHost } from './receiver.ts'

/** Where a replay begins: at the cursor that a client sent, if any, or at the newest page. */
export type ReplayStart =
  | { readonly after: string | undefined; readonly sendReady: boolean }
  | { readonly reset: ResetReason }

/** How a replay reads. */
export interface ReplayOptions {
  /** Null continues after what the client has had. */
  readonly start: ReplayStart | null
  /** Events that were followed already, and are not delivered yet. */
  readonly held?: readonly EncodedEvent[]
  /** Most events of the log in one page; default {@link REPLAY_PAGE}. */
  readonly limit?: number
  /**
   * True if the client may have counts that include shared events which it has yet to receive.
   * Default: false if `start` is null.
   */
  readonly countsMayLead?: boolean
}

/**
 * Reads the log for one client, page by page, until a page reaches what is followed. Events that
 * are followed meanwhile are held; whoever runs the replay delivers them behind the last page. Each
 * event is sent exactly once, because every one has a seq and those the client has had are skipped.
 */
export class Replay {
  readonly #host: ReceiverHost
  readonly #receiver: Receiver
  readonly #client: ClientState
  readonly #limit: number
  #start: ReplayStart | null
  #held: EncodedEvent[] | 'overflow'
  /** How far the page read last went; null before the first. */
  #reached: 'end' | 'more' | null = null
  /** True if counts changed after the last read began: that read may have missed the change. */
  #countsChanged = false
  /** True while the client's counts may be wrong: the next frame that can carry counts must. */
  #countsDue: boolean
  /** Counts are as of the read, and the client adds one for each shared event it receives later. */
  #countsMayLead: boolean

  constructor(
    host: ReceiverHost,
    receiver: Receiver,
    client: ClientState,
    { start, held = [], limit = REPLAY_PAGE, countsMayLead = start !== null }: ReplayOptions
  ) {
    this.#host = host
    this.#receiver = receiver
    this.#client = client
    this.#limit = limit
    this.#start = start
    this.#held = [...held]
    this.#countsDue = start === null && !client.countsKnown
    this.#countsMayLead = countsMayLead
  }

  /** True if the page read last was not the newest. */
  get more(): boolean {
    return this.#reached === 'more'
  }

  /** The events to deliver behind the last page; null if another page has to be read first. */
  get held(): readonly EncodedEvent[] | null {
    return this.#reached === 'end' && this.#held !== 'overflow' ? this.#held : null
  }

  /**
   * Keeps events that are followed meanwhile. If they are too many, more pages are read instead.
   */
  hold(events: readonly EncodedEvent[]): void {
    if (this.#held === 'overflow') return
    if (this.#held.length + events.length > MAX_HELD_EVENTS) this.#held = 'overflow'
    else this.#held.push(...events)
  }

  /** Counts may have changed without a frame that says so. */
  invalidateCounts(): void {
    this.#countsChanged = this.#countsDue = true
  }

  /**
   * Reads the next page. Resolves to a function that returns the page's frames and counts them as
   * sent: call it unless the client has left meanwhile. Rejects if the store does.
   */
  async read(): Promise<() => Buffer[]> {
    const start = this.#start
    this.#start = null
    if (start === null) return this.#readAfter(this.#client.seq, (page) => this.#encode(page, []))
    if ('reset' in start) return this.#readNewest(start.reset)
    const { after, sendReady } = start
    if (after === undefined) return this.#readNewest(null)
    const found = await resolveCursor(this.#host.store, this.#receiver.user, after)
    if ('reset' in found) return this.#readNewest(found.reset, found.undone ? after : null)
    return this.#readAfter(found.seq, (page) =>
      this.#encode(page, this.#resume(page, found.seq, sendReady ? after : null))
    )
  }

  async #readAfter(seq: number, encode: (page: LogPage) => Buffer[]): Promise<() => Buffer[]> {
    this.#beginRead()
    const page = await this.#host.store.read(this.#receiver.user, this.#scope, seq, this.#limit)
    return 'gap' in page ? this.#readNewest('cursor_too_old') : () => encode(page)
  }

  async #readNewest(
    reset: ResetReason | null,
    undone: string | null = null
  ): Promise<() => Buffer[]> {
    this.#beginRead()
    const { user, items } = this.#receiver
    const query = { status: 'all', limit: items } as const
    const page = await this.#host.store.inbox(user, this.#scope, query)
    return () => {
      if (reset !== null) this.#host.observer.reset(this.#receiver, reset, undone)
      const { head: upTo, counts } = page
      const none: LogPage = { events: [], upTo, more: false, counts, recount: false }
      return this.#encode(none, [this.#startOver(page, reset)])
    }
  }

  /** What is followed from here on may not be in the page; all that was followed before is. */
  #beginRead(): void {
    this.#countsChanged = false
    // Except ephemeral events, which are in no log.
    this.#held =
      this.#held === 'overflow' ? [] : this.#held.filter(({ event }) => event.kind === 'ephemeral')
  }

  /** The frame `ready` or `reset`, with the newest notifications. */
  #startOver(page: InboxPage, reset: ResetReason | null): Buffer {
    const { codec, fanOut } = this.#receiver
    const { epoch } = fanOut.log
    const retryMs = this.#client.seq < 0 ? drawRetryMs(OPENING_RETRY_MS) : null
    this.#setCounts(page)
    this.#countsDue = this.#countsChanged
    this.#countsMayLead = true
    this.#client.start(epoch, page.head)
    const items = page.items.map(({ entry, channel, marks }) =>
      encodeItem(entry, channel, formatCursor(epoch, entry.seq), marks)
    )
    const data = this.#readyData(false, items, reset)
    const name = reset === null ? 'ready' : 'reset'
    return codec.frame(name, data, this.#client.cursor, retryMs)
  }

  /** The frame `ready` for a client that resumes at `cursor`; none if that is null. */
  #resume(page: LogPage, seq: number, cursor: Cursor | null): Buffer[] {
    const { codec, fanOut } = this.#receiver
    this.#setCounts(page)
    this.#countsDue = this.#countsChanged || (cursor === null && page.recount)
    this.#client.start(fanOut.log.epoch, seq)
    if (cursor === null) return []
    const data = this.#readyData(true, [], null)
    return [codec.frame('ready', data, cursor, drawRetryMs(OPENING_RETRY_MS))]
  }

  #encode(page: LogPage, frames: Buffer[]): Buffer[] {
    const { codec, fanOut } = this.#receiver
    this.#setCounts(page)
    for (const event of page.events) {
      const encoded = new EncodedEvent(event, fanOut.log.epoch)
      if (encoded.personal) {
        frames.push(encoded.personalFrame(codec, page.counts))
        this.#countsMayLead = true
        this.#countsDue = this.#countsChanged
      } else {
        frames.push(encoded.frame(codec))
        if (this.#countsMayLead || !encoded.created) this.#countsDue = true
      }
      this.#client.sent(event.seq)
    }
    this.#client.passed(page.upTo)
    this.#reached = page.more ? 'more' : 'end'
    if (page.events.length) this.#host.observer.replayed(page.events.length)
    if (this.#countsDue && !page.more) {
      const data = `{"counts":${encodeCounts(page.counts)}}`
      frames.push(codec.frame('heartbeat', data, this.#client.cursor))
      this.#client.sent(this.#client.seq)
      this.#countsDue = this.#countsChanged
    }
    return frames
  }

  #setCounts({ counts }: Pick<LogPage, 'counts'>): void {
    this.#client.setCounts(counts, !this.#countsChanged)
  }

  get #scope() {
    return scopeOf(this.#receiver.user, this.#receiver.topics)
  }

  #readyData(resumed: boolean, items: readonly string[], reset: ResetReason | null): string {
    const { id, user, topics } = this.#receiver
    const counts = encodeCounts(this.#client.counts)
    const reason = reset === null ? '' : `,"reason":"${reset}"`
    return (
      `{"connection":"${id}","user":"${user}","topics":${JSON.stringify(topics)},` +
      `"resumed":${resumed},"items":[${items.join(',')}],"counts":${counts},` +
      `"heartbeatMs":${this.#host.heartbeatMs}${reason}}`
    )
  }
}
