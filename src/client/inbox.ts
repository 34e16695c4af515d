import { Api } from './api.ts'
import { isAfter, sameLog } from './cursor.ts'
import { BellwireError } from './error.ts'
import type { Frame } from './frame.ts'
import { Ladder, type LadderHost } from './ladder.ts'
import { Outbox } from './outbox.ts'
import { apply, isNews, type Mark, mark, type Page, withoutExpired } from './page.ts'
import { countsFrame, poll } from './poll.ts'
import { sse } from './sse.ts'
import { forget, load, save } from './storage.ts'
import { type Member, Tabs } from './tabs.ts'
import type { Transport } from './transport.ts'
import type { Inbox, InboxEvents, InboxOptions, InboxState, Item, ResetReason, Status } from './types.ts'
import { webSocket } from './web-socket.ts'

/** Ids that one request may name. */
const MAX_IDS = 500
/** Changes are kept this long after the first of them. */
const SAVE_MS = 250
/** Longest timer for an expiry; then it is looked at again. */
const LONGEST_MS = 3_600_000

/**
 * Who we are to the service. `identifying`: nothing tells this user from others, so nothing is shown, kept or shared before the
 * service has named one. `joined`: one of the tabs of `name`. `asleep`: the page is frozen or away. `closed` is terminal.
 */
type Phase =
  | { readonly name: 'identifying'; readonly ladder: Ladder }
  | { readonly name: 'joined'; readonly key: string; readonly tabs: Tabs }
  | { readonly name: 'asleep' }
  | { readonly name: 'closed' }

type Listeners = { readonly [K in keyof InboxEvents]: Set<(event: InboxEvents[K]) => void> }

/** One inbox in one tab: what the service has told, what the user has marked on top of it, and who wants to hear of it. */
export class InboxSession implements Inbox, Member {
  readonly #api: Api
  readonly #options: InboxOptions
  readonly #pageSize: number
  readonly #rungs: readonly Transport[]
  readonly #outbox: Outbox
  readonly #subscribers = new Set<() => void>()
  readonly #listeners: Listeners = { notification: new Set(), state: new Set(), reset: new Set(), status: new Set() }
  readonly #gone = new AbortController()
  #phase: Phase = { name: 'asleep' }
  #ladder: Ladder | undefined
  #page: Page | null = null
  #status: Status = 'connecting'
  #error: Error | null = null
  #state: InboxState | undefined
  #telling = false
  #loading: Promise<boolean> | undefined
  #saveTimer: ReturnType<typeof setTimeout> | undefined
  #expiryTimer: ReturnType<typeof setTimeout> | undefined

  constructor(options: InboxOptions) {
    this.#options = options
    this.#api = new Api(options)
    this.#pageSize = options.pageSize ?? 25
    const socket = typeof WebSocket === 'function' && (!this.#api.token.inUse || options.ticket)
    this.#rungs = [sse, ...(socket ? [webSocket] : []), poll]
    this.#outbox = new Outbox(this.#api, () => this.#changed())
    this.#listen()
    this.#wakeUp()
  }

  // ---------------------------------------------------------------- what is shown

  get state(): InboxState {
    this.#state ??= this.#view()
    return this.#state
  }
  get items(): readonly Item[] {
    return this.state.items
  }
  get counts(): InboxState['counts'] {
    return this.state.counts
  }
  get status(): Status {
    return this.state.status
  }
  get hasMore(): boolean {
    return this.state.hasMore
  }
  get user(): string | null {
    return this.state.user
  }
  get error(): Error | null {
    return this.state.error
  }

  readonly subscribe = (fn: () => void): (() => void) => {
    this.#subscribers.add(fn)
    return () => this.#subscribers.delete(fn)
  }

  readonly on = <K extends keyof InboxEvents>(event: K, fn: (event: InboxEvents[K]) => void): (() => void) => {
    this.#listeners[event].add(fn)
    return () => this.#listeners[event].delete(fn)
  }

  // ---------------------------------------------------------------- what the user does

  readonly read = (ids: string | readonly string[]): Promise<void> => this.#mark('read', ids)
  readonly unread = (ids: string | readonly string[]): Promise<void> => this.#mark('unread', ids)
  readonly archive = (ids: string | readonly string[]): Promise<void> => this.#mark('archived', ids)
  readonly readAll = (): Promise<void> => this.#markUpTo('read')
  readonly archiveAll = (): Promise<void> => this.#markUpTo('archived')
  readonly seen = async (): Promise<void> => {
    if (this.counts.unseen > 0) await this.#markUpTo('seen')
  }

  readonly loadMore = (): Promise<boolean> => {
    this.#loading ??= this.#loadMore().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  readonly close = (): void => {
    if (this.#phase.name === 'closed') return
    this.#rest({ name: 'closed' })
    this.#gone.abort()
    this.#outbox.clear(closed())
    this.#subscribers.clear()
    for (const set of Object.values(this.#listeners)) set.clear()
  }

  async #mark(op: Mark['op'], ids: string | readonly string[]): Promise<void> {
    const list = typeof ids === 'string' ? [ids] : [...ids]
    const marks: Promise<void>[] = []
    for (let at = 0; at < list.length; at += MAX_IDS) marks.push(this.#add({ op, ids: list.slice(at, at + MAX_IDS), upTo: null }))
    await Promise.all(marks)
  }

  async #markUpTo(op: Mark['op']): Promise<void> {
    // Nothing has been shown yet, so there is nothing to mark.
    if (this.#page) await this.#add({ op, ids: null, upTo: this.#page.cursor })
  }

  #add(mark: Mark): Promise<void> {
    return this.#phase.name === 'closed' ? Promise.reject(closed()) : this.#outbox.add(mark)
  }

  async #loadMore(): Promise<boolean> {
    for (;;) {
      const before = this.#page?.items.at(-1)?.cursor
      if (!this.#page?.more || !before) return false
      const { user } = this.#page
      const older = await this.#api.json<{ items: Item[]; cursor: string; next: string | null }>('inbox', {
        limit: this.#pageSize,
        before
      })
      const page = this.#page
      if (!page || page.user !== user) return false
      // Something was changed after this page was read, or the list has another end by now: ask again.
      if (isAfter(page.changedAt, older.cursor) || page.items.at(-1)?.cursor !== before) continue
      this.#setPage({ ...page, items: [...page.items, ...older.items], more: older.next !== null })
      return older.next !== null
    }
  }

  // ---------------------------------------------------------------- what arrives

  /** A frame: from the connection of this tab, or from the tab that leads. */
  #receive(frame: Frame): void {
    const before = this.#page
    if (!isNews(before, frame)) return
    if ((frame.event === 'ready' || frame.event === 'reset') && before && before.user !== frame.data.user)
      return this.#startOver()
    // Erased: which of the items are shared, and unread again, only the service knows.
    if (frame.event === 'state' && frame.data.op === 'removed' && frame.data.ids === null) void this.#refresh()
    const page = apply(before, frame, this.#pageSize)
    if (page) this.#setPage(page)
    switch (frame.event) {
      case 'notification': {
        const { op, item } = frame.data
        return this.#emit('notification', { op, item })
      }
      case 'state': {
        const { op, ids, upTo } = frame.data
        return this.#emit('state', { op, ids, upTo })
      }
      case 'ready':
        return frame.data.resumed ? undefined : this.#emitMissed(before)
      case 'reset':
        return this.#emit('reset', { reason: frame.data.reason })
    }
  }

  /** What a fresh page brings that the one before did not have. */
  #emitMissed(before: Page | null): void {
    const page = this.#page
    if (!before || !page) return
    if (!sameLog(before.cursor, page.cursor)) return this.#emit('reset', { reason: 'store_changed' })
    for (const item of page.items.filter(({ cursor }) => cursor && isAfter(cursor, before.cursor)).reverse()) {
      this.#emit('notification', { op: item.replaces ? 'updated' : 'created', item })
    }
  }

  /** The inbox as it is now, in place of what we have. */
  async #refresh(reason: ResetReason = 'erased'): Promise<void> {
    try {
      const fresh = await this.#api.json<Pick<Page, 'items' | 'counts' | 'cursor'> & { next: string | null }>('inbox', {
        limit: this.#pageSize
      })
      const page = this.#page
      if (!page || isAfter(page.cursor, fresh.cursor)) return
      const { items, counts, cursor, next } = fresh
      this.#setPage({ user: page.user, items, counts, cursor, countsAt: cursor, changedAt: cursor, more: next !== null })
      this.#emit('reset', { reason })
    } catch (error) {
      this.#setStatus(this.#status, error as Error)
    }
  }

  #setPage(page: Page): void {
    this.#page = page
    this.#outbox.shownBy(page)
    this.#watchExpiry()
    this.#changed()
  }

  #setStatus(status: Status, error: Error | null): void {
    const changed = status !== this.#status
    if (!changed && error === this.#error) return
    this.#status = status
    this.#error = error
    this.#changed()
    if (changed) this.#emit('status', status)
    if (changed && (status === 'live' || status === 'polling')) this.#outbox.send()
  }

  #watchExpiry(): void {
    clearTimeout(this.#expiryTimer)
    const ends = this.#page?.items.flatMap(({ expiresAt }) => (expiresAt ? [Date.parse(expiresAt)] : [])) ?? []
    if (ends.length === 0) return
    this.#expiryTimer = setTimeout(() => this.#expire(), Math.max(0, Math.min(LONGEST_MS, Math.min(...ends) - Date.now())))
  }

  #expire(): void {
    const page = this.#page
    const left = page && withoutExpired(page, Date.now())
    if (!left) return
    this.#setPage(left)
    // Whether the service has counted them out before us cannot be told here.
    if (left !== page && this.#leads) {
      countsFrame(this.#api).then(
        (frame) => this.#take(frame),
        () => {}
      )
    }
  }

  // ---------------------------------------------------------------- who listens

  #view(): InboxState {
    const page = this.#page
    let shown: Pick<Page, 'items' | 'counts'> = page ?? { items: [], counts: { unread: 0, unseen: 0 } }
    for (const { mark: one, at } of this.#outbox.marks) shown = mark(shown, one, at)
    const { items, counts } = shown
    return { items, counts, status: this.#status, hasMore: page?.more ?? false, user: page?.user ?? null, error: this.#error }
  }

  /** Tells subscribers once, however much has changed in this turn. */
  #changed(): void {
    this.#state = undefined
    this.#saveTimer ??= setTimeout(() => this.#save(), SAVE_MS)
    if (this.#telling) return
    this.#telling = true
    queueMicrotask(() => {
      this.#telling = false
      for (const fn of [...this.#subscribers]) guarded(fn, undefined)
    })
  }

  #emit<K extends keyof InboxEvents>(event: K, data: InboxEvents[K]): void {
    for (const fn of [...this.#listeners[event]]) guarded(fn, data)
  }

  // ---------------------------------------------------------------- one connection for all tabs

  get #leads(): boolean {
    return this.#phase.name === 'joined' && this.#phase.tabs.leads
  }

  /** A frame of our own connection: ours, and then the other tabs'. */
  #take(frame: Frame): void {
    const after = this.#page?.cursor ?? null
    if (this.#phase.name === 'joined') this.#phase.tabs.tell({ kind: 'frame', frame, after })
    this.#receive(frame)
  }

  #host(hear: (frame: Frame) => void, cursor: () => string | null): LadderHost {
    return {
      api: this.#api,
      pageSize: this.#pageSize,
      cursor,
      hear,
      status: (status, error) => {
        this.#setStatus(status, error)
        this.asked(false)
      }
    }
  }

  lead(signal: AbortSignal): void {
    const ladder = new Ladder(
      this.#host(
        (frame) => this.#take(frame),
        () => this.#page?.cursor ?? null
      ),
      this.#rungs
    )
    this.#ladder = ladder
    signal.addEventListener('abort', () => ladder.close())
  }

  asked(need: boolean): void {
    if (this.#phase.name !== 'joined') return
    const { tabs } = this.#phase
    if (need && this.#page) tabs.tell({ kind: 'page', page: this.#page })
    tabs.tell({ kind: 'here', status: this.#status, error: this.#error?.message ?? null })
  }

  hear(message: Parameters<Member['hear']>[0]): void {
    if (message.kind === 'here') {
      const { status, error } = message
      return this.#setStatus(
        status,
        error === null ? null : this.#error?.message === error ? this.#error : new BellwireError('leader', error)
      )
    }
    if (message.kind === 'page') {
      const before = this.#page
      if (before && before.user !== message.page.user) return this.#startOver()
      if (before && !isAfter(message.page.cursor, before.cursor)) return
      this.#setPage(message.page)
      return this.#emitMissed(before)
    }
    const { frame, after } = message
    const fresh = frame.event === 'reset' || (frame.event === 'ready' && !frame.data.resumed)
    if (!fresh && after && (!this.#page || isAfter(after, this.#page.cursor))) return this.#ask()
    this.#receive(frame)
  }

  #ask(): void {
    if (this.#phase.name === 'joined') this.#phase.tabs.ask(true)
  }

  // ---------------------------------------------------------------- its life

  /** Finds out who we are, then joins the other tabs. */
  async #wakeUp(): Promise<void> {
    const asleep: Phase = { name: 'asleep' }
    this.#phase = asleep
    // A token that cannot be had is the ladder's trouble: it tries again.
    const hint = this.#options.user ?? (await this.#api.token.user().catch(() => undefined))
    if (this.#phase !== asleep) return
    if (hint !== undefined) return this.#join(hint, null)
    const ladder = new Ladder(
      this.#host(
        (frame) => {
          if (frame.event !== 'ready' || this.#phase.name !== 'identifying') return
          ladder.close()
          this.#join(frame.data.user, frame)
        },
        () => null
      ),
      [poll]
    )
    this.#ladder = ladder
    this.#phase = { name: 'identifying', ladder }
  }

  /** `ready` is what identified the user, and good where this tab has nothing of its own to go on from. */
  #join(user: string, ready: Frame | null): void {
    const key = `bellwire ${this.#api.address('')} ${user}`
    const kept = this.#options.storage === false || this.#page ? null : load(key)
    if (kept?.page) this.#setPage(withoutExpired(kept.page, Date.now()))
    else if (ready && !this.#page) this.#receive(ready)
    for (const one of kept?.unsent ?? []) this.#outbox.add(one).catch(() => {})
    const tabs = new Tabs(key, this, this.#options.shared !== false)
    this.#phase = { name: 'joined', key, tabs }
    this.#ask()
  }

  /** The service names another user than before: nothing of the old one's may stay. */
  #startOver(): void {
    if (this.#phase.name === 'joined') forget(this.#phase.key)
    this.#page = null
    this.#outbox.clear(new BellwireError('user-changed', 'another user has signed in; the mark was not sent'))
    this.#rest({ name: 'asleep' })
    this.#changed()
    this.#emit('reset', { reason: 'user_changed' })
    void this.#wakeUp()
  }

  /** Gives up connection and lead. */
  #rest(next: Phase): void {
    const phase = this.#phase
    this.#save()
    this.#phase = next
    clearTimeout(this.#expiryTimer)
    if (phase.name === 'identifying') phase.ladder.close()
    if (phase.name === 'joined') phase.tabs.leave()
    this.#ladder = undefined
  }

  #save(): void {
    clearTimeout(this.#saveTimer)
    this.#saveTimer = undefined
    if (this.#options.storage === false || this.#phase.name !== 'joined' || !this.#page) return
    save(this.#phase.key, { page: this.#page, unsent: this.#outbox.unsent })
  }

  /** What browsers tell about the network and about the page. Elsewhere there is nobody to tell. */
  #listen(): void {
    const { signal } = this.#gone
    const when = (target: EventTarget | undefined, types: readonly string[], fn: () => void): void => {
      for (const type of types) target?.addEventListener?.(type, fn, { signal })
    }
    const page = typeof window === 'undefined' ? undefined : window
    when(page, ['online', 'offline'], () => {
      this.#ladder?.kick()
      this.#outbox.send()
    })
    when(page?.document, ['visibilitychange'], () => {
      if (page?.document.visibilityState === 'visible') this.#ladder?.nudge()
      else this.#save()
    })
    const sleep = (): void => {
      if (this.#phase.name !== 'asleep') this.#rest({ name: 'asleep' })
    }
    const wake = (): void => {
      if (this.#phase.name === 'asleep') void this.#wakeUp()
      else this.#ladder?.nudge()
    }
    when(page, ['pagehide'], sleep)
    when(page?.document, ['freeze'], sleep)
    when(page, ['pageshow'], wake)
    when(page?.document, ['resume'], wake)
  }
}

const closed = (): BellwireError => new BellwireError('closed', 'the inbox was closed')

/** A callback of the application that throws is the application's fault: it is told as any other uncaught error, and stops nothing here. */
function guarded<T>(fn: (value: T) => void, value: T): void {
  try {
    fn(value)
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}

/** Opens a user's inbox and keeps it up to date. */
export const createInbox = (options: InboxOptions = {}): Inbox => new InboxSession(options)
