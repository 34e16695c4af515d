import { randomBytes } from 'node:crypto'
import { nextTurn } from '../../bounds/event-loop-turns.ts'
import { sliced } from '../../bounds/fair-queue.ts'
import { IDEMPOTENCY_MS, MAX_TIMER_MS, TRANSACTION_LIMIT } from '../../bounds/limits.ts'
import { type Channel, channelsOf, userChannel } from '../../log/channel.ts'
import { type FollowedEvent, type MarkOp, opOf } from '../../log/event.ts'
import type { Counts, Publication } from '../../log/notification.ts'
// The types of the port, which every store names.
import {
  type CursorStatus,
  type Follower,
  type InboxPage,
  type InboxQuery,
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
import { weightOfPublication } from '../weight-of-publication.ts'
import { MemoryCredentials } from './memory-credentials.ts'
import { countInbox, entriesToMark, eventsAfter, noteWithKey, pageOfInbox } from './memory-inbox.ts'
import { MemoryLog, type Note } from './memory-log.ts'

const HOUR_MS = 60 * 60 * 1000

/**
 * A store that loses everything with the process, for trials and tests. It keeps the same contract
 * as the others.
 */
export class MemoryStore implements Store, Log {
  readonly kind = 'memory'
  readonly logs: readonly [Log] = [this]
  readonly epoch = `m${randomBytes(5).toString('hex').slice(0, 9)}`
  #head = 0
  readonly #log: MemoryLog
  readonly #keys = new Map<
    string,
    { fingerprint: string; id: string; createdAt: number; expiresAt: number }
  >()
  readonly #credentials = new MemoryCredentials()
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

  /** Seq of the newest event that the listener has. */
  get head(): number {
    return this.#head
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

  /** Does nothing: no other process writes. */
  async catchUp(): Promise<void> {}

  publish(items: readonly Publication[]): Promise<readonly PublishOutcome[]> {
    const slices = sliced(items, weightOfPublication, TRANSACTION_LIMIT)
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
    const expiry = expiresAt === undefined ? {} : { expiresAt }
    return { id, to, content, createdAt, producer, ...expiry }
  }

  async details(id: string): Promise<NotificationDetails | null> {
    const stored = await this.notification(id)
    const note = this.#log.note(id, this.#now())
    if (!stored || !note) return null
    const entries = [...note.seqs].map(([channel, seq]) => ({ channel, seq, epoch: this.epoch }))
    return { ...stored, entries, readers: this.#log.marks.readers(entries.map(({ seq }) => seq)) }
  }

  recall(id: string): Promise<boolean> {
    return this.#write((now, events) => this.#recall(this.#log.note(id, now), events))
  }

  recallKey(channel: Channel, key: string): Promise<boolean> {
    return this.#write((now, events) =>
      this.#recall(noteWithKey(this.#log, channel, key, now), events, [channel])
    )
  }

  #recall(note: Note | undefined, events: FollowedEvent[], channels?: Channel[]): boolean {
    if (!note) return false
    const ids = [note.publication.id]
    for (const channel of this.#log.recall(note, channels))
      events.push(this.#log.appendState({ channel, op: 'removed', ids, upTo: null }))
    return true
  }

  mark(user: string, op: MarkOp, target: MarkTarget): Promise<MarkOutcome> {
    return this.#write((now, events) => {
      const byIds = 'ids' in target
      const changed = entriesToMark(this.#log, user, target, now).filter(({ entry }) =>
        this.#log.marks.set(user, op, entry.seq, now)
      )
      if (changed.length === 0) return { affected: 0, seq: this.#log.head }
      const ids = byIds ? changed.map(({ entry }) => entry.id) : null
      const upTo = byIds ? null : target.upTo
      const event = this.#log.appendState({ channel: userChannel(user), op, ids, upTo })
      events.push(event)
      return { affected: changed.length, seq: event.seq }
    })
  }

  erase(user: string): Promise<void> {
    return this.#write((_now, events) => {
      this.#log.erase(user)
      this.#credentials.forgetTickets(user)
      const { head: upTo } = this.#log
      const channel = userChannel(user)
      events.push(this.#log.appendState({ channel, op: 'removed', ids: null, upTo }))
    })
  }

  async read(
    user: string,
    scope: readonly Channel[],
    after: number,
    limit: number
  ): Promise<LogPage | LogGap> {
    // Expiry may append events, also in the moment before the timer sees to it.
    await this.#write(() => {})
    const now = this.#now()
    if (this.#log.hasGap(scope, after)) return { gap: true }
    const found = eventsAfter(this.#log, user, scope, after, now)
    const { events, more } = pageOf(found, (event) => event, limit)
    const upTo = more ? (events.at(-1)?.seq ?? after) : this.#log.head
    const counts = countInbox(this.#log, user, scope, now)
    return { events, upTo, more, counts, recount: this.#log.recounts(scope, after) }
  }

  async inbox(user: string, scope: readonly Channel[], query: InboxQuery): Promise<InboxPage> {
    const now = this.#now()
    const { items, more } = pageOfInbox(this.#log, user, scope, query, now)
    return { items, counts: countInbox(this.#log, user, scope, now), head: this.#log.head, more }
  }

  async counts(user: string, scope: readonly Channel[]): Promise<Counts> {
    return countInbox(this.#log, user, scope, this.#now())
  }

  putTicket(hash: string, holder: TicketHolder, expiresAt: number): Promise<void> {
    return this.#write(() => this.#credentials.putTicket(hash, holder, expiresAt))
  }

  async takeTicket(
    hash: string,
    { keep = false }: { keep?: boolean } = {}
  ): Promise<TicketHolder | null> {
    return this.#credentials.takeTicket(hash, keep, this.#now())
  }

  revoke(user: string): Promise<void> {
    return this.#write((now, events) => {
      this.#credentials.revoke(user, now)
      events.push({ kind: 'revoked', user })
    })
  }

  async revokedAt(user: string): Promise<number> {
    this.#now()
    return this.#credentials.revokedAt(user)
  }

  status(): StoreStatus {
    return { healthy: this.healthy, ...(this.#closed ? { reason: 'the store is closed' } : {}) }
  }

  /** Does nothing: no call waits here for long. */
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
        const { seq } = entry
        events.push({ kind: 'notification', op: opOf(entry), channel, seq, entry })
      }
    }
    return { kind: 'accepted', id, createdAt }
  }

  #tidy(): void {
    const now = Date.now()
    this.#log.age(now)
    for (const [key, { expiresAt }] of this.#keys) if (expiresAt <= now) this.#keys.delete(key)
    this.#credentials.tidy(now)
  }

  #now(): number {
    if (this.#closed) throw new StoreError('unavailable', 'the store is closed')
    return Date.now()
  }

  /**
   * Runs a change. The listener gets its events in the turn in which the promise resolves, never in
   * the caller's own.
   */
  async #write<T>(work: (now: number, events: FollowedEvent[]) => T): Promise<T> {
    const now = this.#now()
    const next = this.#log.expire(now)
    const events: FollowedEvent[] = []
    const result = work(now, events)
    this.#arrange(next, events)
    const followed = [...this.#log.takeDropped(), ...events]
    const { head } = this.#log
    queueMicrotask(() => {
      this.#head = head
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
