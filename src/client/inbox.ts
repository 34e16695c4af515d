import { type Api, createApi } from './api.ts'
import { backoffMs } from './backoff.ts'
import { isAfter, sameLog } from './cursor.ts'
import { asError, BellwireError } from './error.ts'
import { type Frame, frameOf } from './frame.ts'
import { type Ladder, startLadder } from './ladder.ts'
import { createOutbox, type Outbox } from './outbox.ts'
import { apply, askedItems, isFresh, type Mark, mark, type Page, pageOf } from './page.ts'
import { poll } from './poll.ts'
import { later, sleep, type Timer } from './sleep.ts'
import { sse } from './sse.ts'
import { forget, load, save } from './storage.ts'
import { type FromLeader, joinTabs, type Member, type Tabs } from './tabs.ts'
import type { Transport } from './transport.ts'
import type { Counts, Inbox, InboxOptions, InboxState, Item, ResetReason, Status } from './types.ts'
import { webSocket } from './web-socket.ts'

/** Changes are kept this long after the first of them. */
const SAVE_MS = 250

/**
 * `awake` without `tabs`: nothing tells this user from others, so nothing is shown, kept or shared before the service has named
 * one; then one of the tabs of that user. `asleep`: the page is frozen or away. `closed` is terminal.
 */
interface Phase {
  readonly name: 'awake' | 'asleep' | 'closed'
  readonly tabs?: Tabs
}

/** One inbox in one tab: what the service has told, what the user has marked on top of it, and who wants to hear of it. */
class InboxSession implements Inbox, Member {
  readonly #api: Api
  readonly #options: InboxOptions
  readonly #pageSize: number
  readonly #rungs: readonly Transport[]
  readonly #outbox: Outbox
  #listeners: Record<string, Set<(event: never) => void>> = {}
  readonly #gone = new AbortController()
  #phase: Phase = { name: 'asleep' }
  #ladder: Ladder | undefined
  #page: Page | null = null
  #status: Status = 'connecting'
  #error: Error | null = null
  #state: InboxState | undefined
  #loading: Promise<boolean> | undefined
  #saveTimer: Timer | undefined
  #expiryTimer: Timer | undefined

  constructor(options: InboxOptions = {}) {
    // A server that renders a page has nobody to keep up to date. A worker has no window, and imports scripts.
    const onServer = !globalThis.window && !('importScripts' in globalThis)
    this.#options = options
    this.#api = createApi(onServer ? { url: 'http://-' } : options)
    this.#pageSize = options.pageSize ?? 25
    const socket = globalThis.WebSocket && (!options.token || options.ticket)
    this.#rungs = [sse, ...(socket ? [webSocket] : []), poll]
    this.#outbox = createOutbox(this.#api, () => this.#changed())
    this.#state = this.#view()
    if (onServer) this.#phase = { name: 'closed' }
    else {
      this.#listen()
      void this.#wakeUp()
    }
  }

  // ---------------------------------------------------------------- what is shown

  get state(): InboxState {
    this.#state ??= this.#view()
    return this.#state
  }
  get items(): readonly Item[] {
    return this.state.items
  }
  get counts(): Counts {
    return this.state.counts
  }
  get status(): Status {
    return this.#status
  }

  readonly subscribe = (fn: (state: InboxState) => void): (() => void) => this.on('change', fn)

  readonly on = (event: string, fn: (event: never) => void): (() => void) => {
    this.#listeners[event] ??= new Set()
    this.#listeners[event].add(fn)
    return () => this.#listeners[event]?.delete(fn)
  }

  // ---------------------------------------------------------------- what the user does

  readonly read = (ids: string | readonly string[]): Promise<void> => this.#mark('read', ids)
  readonly unread = (ids: string | readonly string[]): Promise<void> => this.#mark('unread', ids)
  readonly archive = (ids: string | readonly string[]): Promise<void> => this.#mark('archived', ids)
  readonly readAll = (): Promise<void> => this.#mark('read')
  readonly archiveAll = (): Promise<void> => this.#mark('archived')
  readonly seen = async (): Promise<void> => {
    if (this.counts.unseen) await this.#mark('seen')
  }

  readonly loadMore = (): Promise<boolean> => {
    this.#loading ??= this.#loadMore().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  readonly close = (options?: { readonly forget?: boolean }): void => {
    this.#rest({ name: 'closed' })
    this.#listeners = {}
    this.#gone.abort()
    this.#outbox.clear(closed())
    if (!options?.forget) return
    this.#page = null
    this.#state = undefined
    forget(this.#key(''))
  }

  /** Without ids: everything up to the place that this page is at. Before the first page there is nothing to mark. */
  async #mark(op: Mark['op'], ids?: string | readonly string[]): Promise<void> {
    if (this.#phase.name === 'closed') throw closed()
    const upTo = ids ? null : this.#page?.cursor
    if (upTo !== undefined) await this.#outbox.add({ op, ids: ids ? [ids].flat() : null, upTo })
  }

  async #loadMore(): Promise<boolean> {
    for (;;) {
      const from = this.#page
      const before = from?.items.at(-1)?.cursor
      if (!from?.more || !before) return false
      const older = await this.#api.json<{ items: Item[]; cursor: string; next: string | null }>(
        'inbox',
        {
          limit: this.#pageSize,
          before
        }
      )
      const page = this.#page
      if (page?.user !== from.user) return false
      // Something was changed after this page was read, or the list has another end by now: ask again.
      if (isAfter(page.changedAt, older.cursor) || page.items.at(-1)?.cursor !== before) continue
      const more = older.next !== null
      this.#setPage({ ...page, items: [...page.items, ...older.items], more })
      return more
    }
  }

  // ---------------------------------------------------------------- what arrives

  /** A frame: from the connection of this tab, or from the tab that leads. */
  #receive(frame: Frame): void {
    const { event, data } = frame
    if (isFresh(frame))
      return this.#replace(
        pageOf(frame, this.#pageSize),
        event === 'reset' ? data.reason : undefined
      )
    const before = this.#page
    if (event === 'ready' && before) {
      if (before.user !== data.user) return this.#startOver()
      if (before.topics !== `${data.topics}`) return this.#renew()
    }
    const page = apply(before, frame, this.#api.isoNow())
    if (!page) return
    this.#setPage(page)
    this.#emit(event, data)
    // All is erased. What was for many is still there, unread again: only a fresh page can tell.
    if (event === 'state' && data.op === 'removed' && !data.ids) this.#renew()
  }

  /** The page cannot go on from where it is: a fresh one will take its place. */
  #renew(): void {
    this.#page &&= { ...this.#page, topics: null }
    this.#ladder?.kick(false)
  }

  /** A fresh page: of the service, which says why if it takes the place of another, or of the tab that leads. */
  #replace(page: Page, why?: ResetReason): void {
    const before = this.#page
    if (before && before.user !== page.user) return this.#startOver()
    const newer = ({ cursor }: Pick<Item, 'cursor'>): boolean => isAfter(cursor!, before!.cursor)
    // From the leader, for one who has asked, and not for us.
    if (!why && before?.topics === page.topics && !newer(page)) return
    this.#setPage(page)
    if (before && !why) {
      if (!sameLog(before.cursor, page.cursor)) why = 'store_changed'
      // There are some in between that this page does not hold.
      else if (page.more && newer(page.items.at(-1)!)) why = 'overflow'
      else {
        for (const item of page.items.filter(newer).reverse()) {
          this.#emit('notification', { op: item.replaces ? 'updated' : 'created', item })
        }
      }
    }
    if (why) this.#emit('reset', { reason: why })
  }

  #setPage(page: Page): void {
    this.#page = page
    this.#outbox.shownBy(page)
    clearTimeout(this.#expiryTimer)
    const ends = page.items.flatMap(({ expiresAt }) => (expiresAt ? Date.parse(expiresAt) : []))
    const inMs = Math.min(...ends) - this.#api.now()
    // Not where nothing expires, nor before the time is known.
    if (inMs < Infinity) this.#expiryTimer = later(() => this.#expire(), inMs)
    this.#changed()
  }

  /** One tab does it for all: it knows the time. What counts is what the service counts. */
  async #expire(): Promise<void> {
    const before = this.#page!.items
    const tell = (data: object): void => this.#take(frameOf('heartbeat', this.#page?.cursor, data))
    if (this.#ladder) tell({ now: this.#api.now() })
    for (let failures = 0; this.#ladder && before.length > this.#page!.items.length; ) {
      try {
        return tell({ counts: await this.#api.json<Counts>('inbox/counts', {}) })
      } catch (error) {
        await sleep(asError(error).retryAfterMs ?? backoffMs(++failures), this.#gone.signal)
      }
    }
  }

  #setStatus(status: Status, error: Error | null): void {
    const changed = status !== this.#status
    if (!changed && error === this.#error) return
    this.#status = status
    this.#error = error
    this.#changed()
    if (!changed) return
    this.#emit('status', status)
    this.#outbox.send()
  }

  // ---------------------------------------------------------------- who listens

  #view(): InboxState {
    const page = this.#page
    let shown: Pick<Page, 'items' | 'counts'> = page ?? {
      items: [],
      counts: { unread: 0, unseen: 0 }
    }
    for (const one of this.#outbox.marks) shown = mark(shown, one.mark, one.at)
    const { items, counts } = shown
    return {
      items,
      counts,
      status: this.#status,
      hasMore: page?.more ?? false,
      user: page?.user ?? null,
      error: this.#error
    }
  }

  /** Tells subscribers once, however much has changed in this turn. */
  #changed(): void {
    this.#saveTimer ??= setTimeout(() => this.#save(), SAVE_MS)
    if (!this.#state) return
    this.#state = undefined
    queueMicrotask(() => this.#emit('change', this.state))
  }

  /** Events that nobody can ask for have no listeners. */
  #emit(event: string, data?: unknown): void {
    // Each in a turn of its own: one that throws is told as any uncaught error, and stops nothing here.
    for (const fn of this.#listeners[event] ?? []) queueMicrotask(() => fn(data as never))
  }

  // ---------------------------------------------------------------- one connection for all tabs

  /** A frame of our own connection: ours, and then the other tabs'. */
  readonly #take = (frame: Frame): void => {
    // What was created lies in the past.
    if (frame.event === 'notification')
      this.#api.setClock(Date.parse(frame.data.item.createdAt), true)
    this.#phase.tabs?.tell({ frame, after: this.#page?.cursor })
    this.#receive(frame)
  }

  #connect(
    rungs: readonly Transport[],
    cursor: () => string | undefined,
    hear: (frame: Frame) => void
  ): Ladder {
    const ladder = startLadder(
      {
        api: this.#api,
        items: askedItems(this.#pageSize),
        cursor,
        hear,
        status: (status, error) => {
          this.#setStatus(status, error)
          this.asked(false)
        }
      },
      rungs
    )
    this.#ladder = ladder
    return ladder
  }

  lead(): () => void {
    // A page of other topics is not gone on from.
    const ladder = this.#connect(
      this.#rungs,
      () => (this.#page?.topics == null ? undefined : this.#page.cursor),
      this.#take
    )
    return () => {
      ladder.close()
      this.#ladder = undefined
    }
  }

  asked(need: boolean): void {
    const { tabs } = this.#phase
    const page = this.#page
    // A page that is to be replaced is told when it has been.
    tabs?.tell({ status: this.#status, page: need && page?.topics != null ? page : null })
  }

  hear(message: FromLeader): void {
    if ('status' in message) {
      if (message.page) this.#replace(message.page)
      return this.#setStatus(message.status, null)
    }
    const { frame, after } = message
    const page = this.#page
    // It follows on something that we have not seen.
    if (after && !isFresh(frame) && (!page || isAfter(after, page.cursor)))
      this.#phase.tabs?.ask(true)
    else this.#receive(frame)
  }

  // ---------------------------------------------------------------- its life

  /** Finds out who we are, then joins the other tabs. */
  async #wakeUp(): Promise<void> {
    const asleep: Phase = { name: 'asleep' }
    this.#phase = asleep
    // A token that cannot be had is the ladder's trouble: it tries again.
    const hint = this.#options.user ?? (await this.#api.token.user().catch(() => undefined))
    if (this.#phase !== asleep) return
    if (hint !== undefined) return this.#join(hint)
    const ladder = this.#connect(
      [{ ...poll, status: 'connecting' }],
      () => undefined,
      (frame) => {
        if (frame.event !== 'ready' || this.#phase.tabs) return
        ladder.close()
        const { user } = frame.data
        if (this.#page && this.#page.user !== user) this.#startOver()
        else this.#join(user, frame)
      }
    )
    this.#phase = { name: 'awake' }
  }

  /** `ready` is what identified the user, and good where this tab has nothing of its own to go on from. */
  #join(user: string, ready?: Frame): void {
    const key = this.#key(user)
    const kept = this.#options.storage === false || this.#page ? undefined : load(key)
    if (kept?.page) this.#setPage(kept.page)
    else if (ready && !this.#page) this.#receive(ready)
    for (const one of kept?.unsent ?? []) this.#outbox.add(one).catch(() => {})
    const tabs = joinTabs(key, this)
    this.#phase = { name: 'awake', tabs }
    tabs.ask(true)
  }

  /** What this user's tabs share, and what is kept, goes by this name. */
  #key(user: string): string {
    return `bellwire ${this.#api.address('')} ${user}`
  }

  /** The service names another user than before: nothing of the old one's may stay. */
  #startOver(): void {
    this.#page = null
    this.#outbox.clear(new BellwireError('user_changed', 'another user'))
    this.#rest({ name: 'asleep' })
    this.#changed()
    this.#emit('reset', { reason: 'user_changed' })
    void this.#wakeUp()
  }

  /** Gives up connection and lead. */
  #rest(next: Phase): void {
    this.#save()
    clearTimeout(this.#expiryTimer)
    this.#ladder?.close()
    this.#ladder = undefined
    this.#phase.tabs?.leave()
    this.#phase = next
  }

  #save(): void {
    clearTimeout(this.#saveTimer)
    this.#saveTimer = undefined
    const { tabs } = this.#phase
    if (tabs && this.#options.storage !== false) {
      save(tabs.name, { page: this.#page, unsent: this.#outbox.unsent() })
    }
  }

  /** What browsers tell about the network and about the page. Elsewhere there is nobody to tell. */
  #listen(): void {
    const hear = ({ type }: Event): void => {
      if (type === 'pagehide' || type === 'freeze') this.#rest({ name: 'asleep' })
      else if (this.#phase.name === 'asleep') {
        // A page that goes away is hidden after it has said so.
        if (type !== 'visibilitychange') void this.#wakeUp()
      } else if (type === 'online' || type === 'offline') {
        this.#ladder?.kick()
        this.#outbox.send()
      } else this.#ladder?.nudge()
    }
    // Some come to the document and do not bubble: they pass the window on their way there.
    for (const type of [
      'online',
      'offline',
      'pagehide',
      'pageshow',
      'freeze',
      'resume',
      'visibilitychange'
    ]) {
      globalThis.addEventListener?.(type, hear, { capture: true, signal: this.#gone.signal })
    }
  }
}

const closed = (): BellwireError => new BellwireError('closed', 'the inbox is closed')

/** Opens a user's inbox and keeps it up to date. */
export const createInbox = (options?: InboxOptions): Inbox => new InboxSession(options)
