import { MAX_HELD_EVENTS, REPLAY_PAGE } from '../bounds/limits.ts'
import { scopeOf } from '../log/channel.ts'
import { type Cursor, formatCursor, type ResetReason, resolveCursor } from '../log/cursor.ts'
import { encodeItem } from '../log/item.ts'
import type { InboxPage, LogPage } from '../log/store.ts'
import type { ClientState } from './client-state.ts'
import { EncodedEvent, encodeCounts } from './encoded-event.ts'
import { drawRetryMs, OPENING_RETRY_MS } from './goodbye.ts'
import type { Receiver, ReceiverHost } from './receiver.ts'

/** Where a replay begins: at the cursor that a client sent, if any, or at the newest page. */
export type ReplayStart =
  | { readonly cursor: string | undefined; readonly sendReady: boolean }
  | { readonly reset: ResetReason }

/** How a replay reads. */
export interface ReplayOptions {
  /** Null continues after what the client has received. */
  readonly start: ReplayStart | null
  /** Live events that have arrived but are not delivered yet. */
  readonly held?: readonly EncodedEvent[]
  /** Maximum number of log events per page; default {@link REPLAY_PAGE}. */
  readonly limit?: number
  /**
   * True if the client's counts may already include shared events that it has yet to receive.
   * Default: false if `start` is null.
   */
  readonly countsMayLead?: boolean
}

/**
 * Reads the log for one client, page by page, until a page catches up with the live events. Events
 * that arrive meanwhile are held; the caller delivers them after the last page. Each logged event
 * is sent exactly once: those up to the client's seq are skipped.
 */
export class Replay {
  readonly #host: ReceiverHost
  readonly #receiver: Receiver
  readonly #client: ClientState
  readonly #limit: number
  #start: ReplayStart | null
  #held: EncodedEvent[] | 'overflow'
  /** Whether the last page reached the end of the log; null before the first page. */
  #reached: 'end' | 'more' | null = null
  /** True if counts changed after the last read began: that read may have missed the change. */
  #countsChanged = false
  /** True while the client's counts may be wrong: the next frame that can carry them must do so. */
  #countsDue: boolean
  /**
   * True if the client's counts may already include shared events that it has yet to receive and
   * would count twice. For example, `ready` counted an event that arrives only afterwards.
   */
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

  /** True if the log has more events after the last page. */
  get more(): boolean {
    return this.#reached === 'more'
  }

  /** The events to deliver after the last page; null if another page has to be read first. */
  get held(): readonly EncodedEvent[] | null {
    return this.#reached === 'end' && this.#held !== 'overflow' ? this.#held : null
  }

  /**
   * Holds live events that arrive meanwhile. If there are too many, drops them and reads more pages
   * instead.
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
   * sent: call it unless the client has left since. Rejects if the store does.
   */
  async read(): Promise<() => Buffer[]> {
    const start = this.#start
    this.#start = null
    if (start === null) return this.#readAfter(this.#client.seq, (page) => this.#encode(page, []))
    if ('reset' in start) return this.#readNewest(start.reset)
    const { cursor, sendReady } = start
    if (cursor === undefined) return this.#readNewest(null)
    const found = await resolveCursor(this.#host.store, this.#receiver.user, cursor)
    if ('reset' in found) return this.#readNewest(found.reset, found.undone ? cursor : null)
    return this.#readAfter(found.seq, (page) =>
      this.#encode(page, this.#resume(page, found.seq, sendReady ? cursor : null))
    )
  }

  async #readAfter(seq: number, encode: (page: LogPage) => Buffer[]): Promise<() => Buffer[]> {
    this.#beginRead()
    const page = await this.#host.store.read(this.#receiver.user, this.#scope, seq, this.#limit)
    return 'gap' in page ? this.#readNewest('cursor_too_old') : () => encode(page)
  }

  async #readNewest(
    reset: ResetReason | null,
    lostCursor: string | null = null
  ): Promise<() => Buffer[]> {
    this.#beginRead()
    const { user, items } = this.#receiver
    const query = { status: 'all', limit: items } as const
    const page = await this.#host.store.inbox(user, this.#scope, query)
    return () => {
      if (reset !== null) this.#host.observer.reset(this.#receiver, reset, lostCursor)
      const { head: upTo, counts } = page
      const emptyPage: LogPage = { events: [], upTo, more: false, counts, recount: false }
      return this.#encode(emptyPage, [this.#startOver(page, reset)])
    }
  }

  /**
   * Drops the held events: all of them are in the page about to be read, except ephemeral ones,
   * which are in no log.
   */
  #beginRead(): void {
    this.#countsChanged = false
    this.#held =
      this.#held === 'overflow' ? [] : this.#held.filter(({ event }) => event.kind === 'ephemeral')
  }

  /** The `ready` or `reset` frame, with the newest notifications. */
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

  /** The `ready` frame for a client that resumes at `cursor`; no frame if that is null. */
  #resume(page: LogPage, seq: number, cursor: Cursor | null): Buffer[] {
    const { codec, fanOut } = this.#receiver
    this.#setCounts(page)
    // Without a `ready`, which carries counts, the client goes on from those it has.
    this.#countsDue = this.#countsChanged || (cursor === null && page.recount)
    this.#client.start(fanOut.log.epoch, seq)
    if (cursor === null) return []
    const data = this.#readyData(true, [], null)
    return [codec.frame('ready', data, cursor, drawRetryMs(OPENING_RETRY_MS))]
  }

  /**
   * Appends the frames of a page to `frames` and returns it. The last page ends with a heartbeat if
   * counts are due.
   */
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
        // A shared frame carries no counts: the client's own arithmetic may be wrong now.
        if (this.#countsMayLead || !encoded.created) this.#countsDue = true
      }
      this.#client.sentUpTo(event.seq)
    }
    this.#client.nothingDueUpTo(page.upTo)
    this.#reached = page.more ? 'more' : 'end'
    if (page.events.length) this.#host.observer.replayed(page.events.length)
    if (this.#countsDue && !page.more) {
      const data = `{"counts":${encodeCounts(page.counts)}}`
      frames.push(codec.frame('heartbeat', data, this.#client.cursor))
      this.#client.cursorWasSent()
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
