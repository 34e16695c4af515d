import { type Api, createApi } from './api.ts'
import { isAfter } from './cursor.ts'
import { createEmitter } from './emitter.ts'
import { BellwireError } from './error.ts'
import { createExpiry, type Expiry } from './expiry.ts'
import type { Frame } from './frame.ts'
import { onLifecycle } from './lifecycle.ts'
import { createLink, type Link } from './link.ts'
import { createLoadMore } from './older.ts'
import { createOutbox, type Outbox } from './outbox.ts'
import { apply, isFresh, type Mark, newsOf, type Page, pageOf } from './page.ts'
import { poll } from './poll.ts'
import type { Timer } from './sleep.ts'
import { sse } from './sse.ts'
import { forget, load, save } from './storage.ts'
import { joinTabs, type Tabs } from './tabs.ts'
import type { Counts, Inbox, InboxOptions, InboxState, Item, ResetReason, Status } from './types.ts'
import { viewOf } from './view.ts'
import { webSocket } from './web-socket.ts'

/** Changes are kept this long after the first of them. */
const SAVE_MS = 250

/**
 * `awake` without `tabs`: the user is not known yet, so nothing is shown, stored or shared. With
 * `tabs`: one of the tabs of that user. `asleep`: the page is frozen
 * or away. `closed` is terminal.
 */
interface Phase {
  readonly name: 'awake' | 'asleep' | 'closed'
  readonly tabs?: Tabs
}

/**
 * One inbox in one tab: the page from the service, the user's marks on top of it, and the listeners
 * of the application.
 */
class InboxSession implements Inbox {
  readonly #api: Api
  readonly #options: InboxOptions
  readonly #pageSize: number
  readonly #outbox: Outbox
  readonly #emitter = createEmitter()
  readonly #expiry: Expiry
  readonly #gone = new AbortController()
  #phase: Phase = { name: 'asleep' }
  readonly #link: Link
  #page: Page | null = null
  #status: Status = 'connecting'
  #error: Error | null = null
  #state: InboxState | undefined
  #saveTimer: Timer | undefined

  constructor(options: InboxOptions = {}) {
    // A server that renders a page needs no live updates. A worker has no window, but it imports
    // scripts.
    const onServer = !globalThis.window && !('importScripts' in globalThis)
    this.#options = options
    this.#api = createApi(onServer ? { url: 'http://-' } : options)
    this.#pageSize = options.pageSize ?? 25
    const socket = globalThis.WebSocket && (!options.token || options.ticket)
    this.#outbox = createOutbox(this.#api, () => this.#changed())
    const page = (): Page | null => this.#page
    this.#link = createLink(
      this.#api,
      this.#pageSize,
      [sse, ...(socket ? [webSocket] : []), poll],
      page,
      () => this.#status,
      () => this.#phase.tabs,
      (frame) => this.#receive(frame),
      (next) => this.#replace(next),
      (status, error) => this.#setStatus(status, error)
    )
    this.#expiry = createExpiry(
      this.#api,
      this.#gone.signal,
      page,
      () => !!this.#link.ladder,
      this.#link.take
    )
    this.loadMore = createLoadMore(this.#api, this.#pageSize, page, (next) => this.#setPage(next))
    // Listeners compare with the state before the first change, so it must exist.
    this.#state = this.state
    if (onServer) this.#phase = { name: 'closed' }
    else {
      onLifecycle(this.#hearBrowser, this.#gone.signal)
      void this.#wakeUp()
    }
  }

  get state(): InboxState {
    this.#state ??= viewOf(this.#page, this.#outbox.marks, this.#status, this.#error)
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

  readonly on = this.#emitter.on

  readonly read = (ids: string | readonly string[]): Promise<void> => this.#mark('read', ids)
  readonly unread = (ids: string | readonly string[]): Promise<void> => this.#mark('unread', ids)
  readonly archive = (ids: string | readonly string[]): Promise<void> => this.#mark('archived', ids)
  readonly readAll = (): Promise<void> => this.#mark('read')
  readonly archiveAll = (): Promise<void> => this.#mark('archived')
  readonly seen = async (): Promise<void> => {
    if (this.counts.unseen) await this.#mark('seen')
  }

  readonly loadMore: () => Promise<boolean>

  readonly close = (options?: { readonly forget?: boolean }): void => {
    this.#rest({ name: 'closed' })
    this.#emitter.clear()
    this.#gone.abort()
    this.#outbox.clear(closed())
    if (!options?.forget) return
    this.#page = null
    this.#state = undefined
    forget(this.#key(''))
  }

  /**
   * Without ids: everything up to the cursor of this page. Before the first page there is nothing
   * to mark.
   */
  async #mark(op: Mark['op'], ids?: string | readonly string[]): Promise<void> {
    if (this.#phase.name === 'closed') throw closed()
    const upTo = ids ? null : this.#page?.cursor
    if (upTo !== undefined) await this.#outbox.add({ op, ids: ids ? [ids].flat() : null, upTo })
  }

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
    this.#emitter.emit(event, data)
    // The user was erased. Shared notifications remain, unread again: only a fresh page shows them.
    if (event === 'state' && data.op === 'removed' && !data.ids) this.#renew()
  }

  /** The page cannot be continued: requests a fresh one to replace it. */
  #renew(): void {
    this.#page &&= { ...this.#page, topics: null }
    this.#link.ladder?.kick(false)
  }

  /**
   * A fresh page, from the service or from the leading tab. `why`: the reason the service gives for
   * replacing another.
   */
  #replace(page: Page, why?: ResetReason): void {
    const before = this.#page
    if (before && before.user !== page.user) return this.#startOver()
    // The leader sent it because another tab had asked.
    if (!why && before?.topics === page.topics && !isAfter(page.cursor, before.cursor)) return
    this.#setPage(page)
    const news = why ?? (before ? newsOf(before, page) : [])
    if (typeof news === 'string') this.#emitter.emit('reset', { reason: news })
    else
      for (const item of news)
        this.#emitter.emit('notification', { op: item.replaces ? 'updated' : 'created', item })
  }

  #setPage(page: Page): void {
    this.#page = page
    this.#outbox.shownBy(page)
    this.#expiry.watch(page)
    this.#changed()
  }

  #setStatus(status: Status, error: Error | null): void {
    const changed = status !== this.#status
    if (!changed && error === this.#error) return
    this.#status = status
    this.#error = error
    this.#changed()
    if (!changed) return
    this.#emitter.emit('status', status)
    void this.#outbox.send()
  }

  /** Notifies subscribers once, however many changes this turn makes. */
  #changed(): void {
    this.#saveTimer ??= setTimeout(() => this.#save(), SAVE_MS)
    if (!this.#state) return
    this.#state = undefined
    queueMicrotask(() => this.#emitter.emit('change', this.state))
  }

  /** Finds out who we are, then joins the other tabs. */
  async #wakeUp(): Promise<void> {
    const asleep: Phase = { name: 'asleep' }
    this.#phase = asleep
    // If there is no token now, the connection reports that and tries again.
    const hint = this.#options.user ?? (await this.#api.token.user().catch(() => undefined))
    if (this.#phase !== asleep) return
    if (hint !== undefined) return this.#join(hint)
    this.#link.connect(
      [{ ...poll, status: 'connecting' }],
      () => undefined,
      (frame) => {
        if (frame.event !== 'ready' || this.#phase.tabs) return
        this.#link.close()
        const { user } = frame.data
        if (this.#page && this.#page.user !== user) this.#startOver()
        else this.#join(user, frame)
      }
    )
    this.#phase = { name: 'awake' }
  }

  /**
   * `ready` is the frame that named the user. It is used if this tab has no page to continue from.
   */
  #join(user: string, ready?: Frame): void {
    const key = this.#key(user)
    const kept = this.#options.storage === false || this.#page ? undefined : load(key)
    if (kept?.page) this.#setPage(kept.page)
    else if (ready && !this.#page) this.#receive(ready)
    for (const one of kept?.unsent ?? []) this.#outbox.add(one).catch(() => {})
    const tabs = joinTabs(key, this.#link)
    this.#phase = { name: 'awake', tabs }
    tabs.ask(true)
  }

  /** The name under which this user's tabs share and store their page. */
  #key(user: string): string {
    return `bellwire ${this.#api.address('')} ${user}`
  }

  /** The service names another user than before: everything of the old one must go. */
  #startOver(): void {
    this.#page = null
    this.#outbox.clear(new BellwireError('user_changed', 'another user'))
    this.#rest({ name: 'asleep' })
    this.#changed()
    this.#emitter.emit('reset', { reason: 'user_changed' })
    void this.#wakeUp()
  }

  /** Gives up connection and lead. */
  #rest(next: Phase): void {
    this.#save()
    this.#expiry.stop()
    this.#link.close()
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

  readonly #hearBrowser = (type: string): void => {
    if (type === 'pagehide' || type === 'freeze') this.#rest({ name: 'asleep' })
    else if (this.#phase.name === 'asleep') {
      // A page that goes away becomes hidden after `pagehide`.
      if (type !== 'visibilitychange') void this.#wakeUp()
    } else if (type === 'online' || type === 'offline') {
      this.#link.ladder?.kick()
      void this.#outbox.send()
    } else this.#link.ladder?.nudge()
  }
}

const closed = (): BellwireError => new BellwireError('closed', 'inbox closed')

/** Opens a user's inbox and keeps it up to date. */
export const createInbox = (options?: InboxOptions): Inbox => new InboxSession(options)
