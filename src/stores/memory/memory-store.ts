import { randomBytes } from 'node:crypto'
import { sliced, weightOf } from '../../bounds/fair-queue.ts'
import { IDEMPOTENCY_MS, MAX_TIMER_MS, TRANSACTION_LIMIT } from '../../bounds/limits.ts'
import { nextTurn } from '../../bounds/turns.ts'
import { type Channel, channelsOf, isPersonal, userChannel } from '../../log/channel.ts'
import type { FollowedEvent, LoggedEvent, MarkOp } from '../../log/event.ts'
import { type Counts, type Marks, type Publication, UNTOUCHED } from '../../log/notification.ts'
import {
  type CursorStatus,
  type Follower,
  type InboxPage,
  type InboxStatus,
  type Log,
  type LogGap,
  type LogPage,
  type MarkOutcome,
  type MarkTarget,
  type NotificationDetails,
  type PublishOutcome,
  type Store,
  type StoredNotification,
  StoreError,
  type StoreStatus,
  type TicketHolder
} from '../../log/store.ts'
import { joinOutcomes } from '../join-outcomes.ts'
import { pageOf } from '../page.ts'
import { MemoryLog, type Place } from './memory-log.ts'

const HOUR_MS = 60 * 60 * 1000

/** A store that forgets everything with the process: for trials and tests. The same contract as the others. */
export class MemoryStore implements Store, Log {
  readonly kind = 'memory'
  readonly logs: readonly [Log] = [this]
  readonly epoch = `m${randomBytes(5).toString('hex').slice(0, 9)}`
  head = 0
  readonly #log: MemoryLog
  readonly #keys = new Map<
    string,
    { fingerprint: string; id: string; createdAt: number; expiresAt: number }
  >()
  readonly #tickets = new Map<string, { holder: TicketHolder; expiresAt: number }>()
  readonly #revoked = new Map<string, number>()
  #listener: Follower = () => {}
  #timer: NodeJS.Timeout | undefined
  readonly #hourly: NodeJS.Timeout
  #closed = false

  constructor(options: { readonly retentionDays: number; readonly retentionPerChannel: number }) {
    this.#log = new MemoryLog(options)
    this.#hourly = setInterval(() => void this.#write(() => this.#tidy()), HOUR_MS).unref()
  }

  logOf(): Log {
    return this
  }

  get oldest(): number {
    return this.#log.floor
  }

  get healthy(): boolean {
    return !this.#closed
  }

  cursorStatus(epoch: string, seq: number): CursorStatus {
    if (epoch !== this.epoch) return 'foreign'
    return seq > this.head ? 'undone' : 'held'
  }

  follow(listener: Follower): void {
    this.#listener = listener
  }

  /** Nobody else writes. */
  async catchUp(): Promise<void> {}

  publish(items: readonly Publication[]): Promise<readonly PublishOutcome[]> {
    const slices = sliced(
      items,
      ({ content, to }) => weightOf(content, 'users' in to ? to.users.length : 1),
      TRANSACTION_LIMIT
    )
    let before: Promise<unknown> = Promise.resolve()
    const answers = slices.map(({ items }, k) => {
      const append = () =>
        this.#write((now, events) => items.map((item) => this.#publish(item, now, events)))
      const answer = k === 0 ? append() : before.then(nextTurn).then(append)
      before = answer.catch(() => {})
      return answer
    })
    return joinOutcomes(slices, answers)
  }

  async notification(id: string): Promise<StoredNotification | null> {
    const publication = this.#log.note(id, this.#now())?.publication
    if (!publication) return null
    const { to, content, createdAt, expiresAt, producer } = publication
    return {
      id,
      to,
      content,
      createdAt,
      producer,
      ...(expiresAt === undefined ? {} : { expiresAt })
    }
  }

  async details(id: string): Promise<NotificationDetails | null> {
    const stored = await this.notification(id)
    const note = this.#log.note(id, this.#now())
    if (!stored || !note) return null
    const entries = [...note.places].map(([channel, seq]) => ({ channel, seq, epoch: this.epoch }))
    const readers = { seen: 0, read: 0, archived: 0 }
    for (const marks of this.#log.marks.values()) {
      for (const { seq } of entries) {
        const { seen, readAt, archived } = marks.get(seq) ?? UNTOUCHED
        if (seen) readers.seen++
        if (readAt !== null) readers.read++
        if (archived) readers.archived++
      }
    }
    return { ...stored, entries, readers }
  }

  recall(id: string): Promise<boolean> {
    return this.#write((now, events) => {
      const note = this.#log.note(id, now)
      if (!note) return false
      for (const channel of this.#log.recall(note))
        events.push(this.#log.appendState({ channel, op: 'removed', ids: [id], upTo: null }))
      return true
    })
  }

  mark(user: string, op: MarkOp, target: MarkTarget): Promise<MarkOutcome> {
    return this.#write((now, events) => {
      const places = 'ids' in target ? this.#named(user, target, now) : this.#upTo(target, now)
      const changed = places.filter(({ entry }) => this.#mark(user, op, entry.seq, now))
      if (changed.length === 0) return { affected: 0, seq: this.#log.head }
      const byIds = 'ids' in target
      const ids = byIds ? changed.map(({ entry }) => entry.id) : null
      const event = this.#log.appendState({
        channel: userChannel(user),
        op,
        ids,
        upTo: byIds ? null : target.upTo
      })
      events.push(event)
      return { affected: changed.length, seq: event.seq }
    })
  }

  erase(user: string): Promise<void> {
    return this.#write((_now, events) => {
      this.#log.erase(user)
      this.#forgetTickets(user)
      events.push(
        this.#log.appendState({
          channel: userChannel(user),
          op: 'removed',
          ids: null,
          upTo: this.#log.head
        })
      )
    })
  }

  async read(
    user: string,
    scope: readonly Channel[],
    after: number,
    limit: number
  ): Promise<LogPage | LogGap> {
    // What has expired leaves something in the log to be read, also in the moment before the timer sees to it.
    await this.#write(() => {})
    const now = this.#now()
    if (
      after < this.#log.floor ||
      scope.some((channel) => after < (this.#log.channels.get(channel)?.floor ?? 0))
    )
      return { gap: true }
    const found: LoggedEvent[] = []
    for (const channel of scope) {
      for (const { entry } of this.#log.live(channel, now)) {
        if (entry.seq <= after) continue
        const op = entry.replaces === undefined ? 'created' : 'updated'
        found.push({
          kind: 'notification',
          op,
          channel,
          seq: entry.seq,
          entry,
          marks: this.#marks(user, entry.seq)
        })
      }
      for (const { event, since } of this.#log.channels.get(channel)?.states.values() ?? [])
        if (event.seq > after && since <= after) found.push(event)
    }
    found.sort((a, b) => a.seq - b.seq)
    const { events, more } = pageOf(found, (event) => event, limit)
    const upTo = more ? (events.at(-1)?.seq ?? after) : this.#log.head
    return {
      events,
      upTo,
      more,
      counts: this.#count(user, scope, now),
      recount: this.#log.recounts(scope, after)
    }
  }

  async inbox(
    user: string,
    scope: readonly Channel[],
    query: { status: InboxStatus; limit: number; before?: number | undefined }
  ): Promise<InboxPage> {
    const now = this.#now()
    const items = scope.flatMap((channel) =>
      [...this.#log.live(channel, now)].map(({ entry }) => ({
        channel,
        entry,
        marks: this.#marks(user, entry.seq)
      }))
    )
    const wanted = items
      .filter(({ entry }) => query.before === undefined || entry.seq < query.before)
      .filter(({ marks }) =>
        query.status === 'archived'
          ? marks.archived
          : !marks.archived && (query.status === 'all' || marks.readAt === null)
      )
      .sort((a, b) => b.entry.seq - a.entry.seq)
    const more = wanted.length > query.limit
    return {
      items: wanted.slice(0, query.limit),
      counts: this.#count(user, scope, now),
      head: this.#log.head,
      more
    }
  }

  async counts(user: string, scope: readonly Channel[]): Promise<Counts> {
    return this.#count(user, scope, this.#now())
  }

  putTicket(hash: string, holder: TicketHolder, expiresAt: number): Promise<void> {
    return this.#write(() => {
      this.#tickets.set(hash, { holder, expiresAt })
    })
  }

  async takeTicket(
    hash: string,
    { keep = false }: { keep?: boolean } = {}
  ): Promise<TicketHolder | null> {
    const ticket = this.#tickets.get(hash)
    if (!ticket || ticket.expiresAt <= this.#now()) return null
    if (!keep) this.#tickets.delete(hash)
    return ticket.holder
  }

  revoke(user: string): Promise<void> {
    return this.#write((now, events) => {
      this.#forgetTickets(user)
      this.#revoked.set(user, now)
      events.push({ kind: 'revoked', user })
    })
  }

  async revokedAt(user: string): Promise<number> {
    this.#now()
    return this.#revoked.get(user) ?? 0
  }

  status(): StoreStatus {
    return { healthy: this.healthy, ...(this.#closed ? { reason: 'the store is closed' } : {}) }
  }

  /** Nothing waits here for long. */
  abandon(): void {}

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    clearInterval(this.#hourly)
  }

  #publish(item: Publication, now: number, events: FollowedEvent[]): PublishOutcome {
    const { id, content, createdAt, expiresAt, idempotency } = item
    const before = idempotency && this.#keys.get(idempotency.key)
    if (before && before.expiresAt > now) {
      if (before.fingerprint !== idempotency.fingerprint) return { kind: 'key-reused' }
      return { kind: 'replayed', id: before.id, createdAt: before.createdAt }
    }
    if (expiresAt !== undefined && expiresAt <= now) return { kind: 'expired' }
    if (idempotency)
      this.#keys.set(idempotency.key, {
        fingerprint: idempotency.fingerprint,
        id,
        createdAt,
        expiresAt: now + IDEMPOTENCY_MS
      })
    if (item.ephemeral) {
      const entry = { id, content, createdAt, expiresAt, times: 0 }
      for (const channel of channelsOf(item.to)) events.push({ kind: 'ephemeral', channel, entry })
    } else {
      for (const { channel, entry } of this.#log.append(item)) {
        events.push({
          kind: 'notification',
          op: entry.replaces === undefined ? 'created' : 'updated',
          channel,
          seq: entry.seq,
          entry
        })
      }
    }
    return { kind: 'accepted', id, createdAt }
  }

  #named(
    user: string,
    { ids, allows }: Extract<MarkTarget, { ids: readonly string[] }>,
    now: number
  ): Place[] {
    return [...new Set(ids)].flatMap((id) => {
      const places = this.#log.note(id, now)?.places ?? new Map<Channel, number>()
      const found = [...places].find(
        ([channel]) => channel === userChannel(user) || (!isPersonal(channel) && allows(channel))
      )
      const place = found && this.#log.channel(found[0]).entries.get(found[1])
      return place ? [place] : []
    })
  }

  #upTo({ upTo, scope }: Extract<MarkTarget, { upTo: number }>, now: number): Place[] {
    return scope.flatMap((channel) =>
      [...this.#log.live(channel, now)].filter(({ entry }) => entry.seq <= upTo)
    )
  }

  /** Sets one entry's marks; true where that changed something. */
  #mark(user: string, op: MarkOp, seq: number, now: number): boolean {
    const marks = this.#marks(user, seq)
    const { readAt, seen, archived } = marks
    const nothing = { read: readAt !== null, unread: archived || readAt === null, seen, archived }
    if (nothing[op]) return false
    const mine = this.#log.marks.get(user) ?? new Map<number, Marks>()
    this.#log.marks.set(user, mine)
    mine.set(seq, {
      readAt: op === 'read' ? now : op === 'unread' ? null : readAt,
      seen: true,
      archived: archived || op === 'archived'
    })
    return true
  }

  #marks(user: string, seq: number): Marks {
    return this.#log.marks.get(user)?.get(seq) ?? UNTOUCHED
  }

  #count(user: string, scope: readonly Channel[], now: number): Counts {
    let unread = 0
    let unseen = 0
    for (const channel of scope) {
      for (const { entry } of this.#log.live(channel, now)) {
        const { readAt, seen, archived } = this.#marks(user, entry.seq)
        if (readAt !== null || archived) continue
        unread += 1
        if (!seen) unseen += 1
      }
    }
    return { unread, unseen }
  }

  #forgetTickets(user: string): void {
    for (const [hash, { holder }] of this.#tickets)
      if (holder.user === user) this.#tickets.delete(hash)
  }

  #tidy(): void {
    const now = Date.now()
    this.#log.age(now)
    for (const [key, { expiresAt }] of this.#keys) if (expiresAt <= now) this.#keys.delete(key)
    for (const [hash, { expiresAt }] of this.#tickets)
      if (expiresAt <= now) this.#tickets.delete(hash)
  }

  #now(): number {
    if (this.#closed) throw new StoreError('unavailable', 'the store is closed')
    return Date.now()
  }

  /** Runs a change, and has its events followed in the turn in which the promise resolves, never within the caller's own. */
  async #write<T>(work: (now: number, events: FollowedEvent[]) => T): Promise<T> {
    const now = this.#now()
    const next = this.#log.expire(now)
    const events: FollowedEvent[] = []
    const result = work(now, events)
    this.#arrange(next, events)
    const followed = [...this.#log.takeDropped(), ...events]
    const { head } = this.#log
    queueMicrotask(() => {
      this.head = head
      if (followed.length > 0) this.#listener(followed, this)
    })
    return result
  }

  #arrange(next: number, events: readonly FollowedEvent[]): void {
    let soonest = next
    for (const event of events) {
      if (event.kind === 'notification')
        soonest = Math.min(soonest, event.entry.expiresAt ?? soonest)
    }
    clearTimeout(this.#timer)
    if (soonest === Number.POSITIVE_INFINITY) return
    this.#timer = setTimeout(
      () => void this.#write(() => {}),
      Math.min(Math.max(soonest - Date.now(), 0), MAX_TIMER_MS)
    ).unref()
  }
}
