import type { Channel } from './channel.ts'
import type { FollowedEvent, LoggedEvent, MarkOp } from './event.ts'
import type { Counts, Entry, Marks, Publication, Recipients } from './notification.ts'

/** What became of one publication. */
export type PublishOutcome =
  | { readonly kind: 'accepted'; readonly id: string; readonly createdAt: number }
  /** The idempotency key was used before for the same: nothing was appended. */
  | { readonly kind: 'replayed'; readonly id: string; readonly createdAt: number }
  /** The idempotency key was used before for something else: nothing was appended. */
  | { readonly kind: 'key-reused' }
  /** It had expired before it could be appended, and was never accepted before. */
  | { readonly kind: 'expired' }
  /** The store failed at it, though it took others of the same call; `error` is what the call would have rejected with. */
  | { readonly kind: 'failed'; readonly error: unknown }

/** Which of a subscriber's entries a mark is for. `ids` may lie in any channel that `allows` says yes to; `upTo` covers `scope`. */
export type MarkTarget =
  | { readonly ids: readonly string[]; readonly allows: (channel: Channel) => boolean }
  | { readonly upTo: number; readonly scope: readonly Channel[] }

/** What a mark changed. `seq` is the place of its state event, or of the head where it changed nothing and made none. */
export interface MarkOutcome {
  readonly affected: number
  readonly seq: number
}

/** A slice of the log for one reader, after a place, in order. Whatever was recalled, expired or collapsed since is left out. */
export interface LogPage {
  readonly events: readonly LoggedEvent[]
  /** The place this page reaches: everything up to it, and within the channels, is in the page or was delivered before. */
  readonly upTo: number
  /** True where the log holds more behind `upTo` for these channels. */
  readonly more: boolean
  /** The user's counts over the channels, as of this read, for the frames of the page. */
  readonly counts: Counts
  /**
   * True if whoever comes from this place may have other counts than the events of the page lead to: it is the place of an
   * event of a shared channel, whose frame carries none, or entries have left a channel without an event since. Only if `upTo`
   * is beyond it.
   */
  readonly recount: boolean
}

/** The log no longer holds everything after the place asked for. */
export interface LogGap {
  readonly gap: true
}

export type InboxStatus = 'all' | 'unread' | 'archived'

/** An entry as one subscriber sees it. */
export interface InboxItem {
  readonly channel: Channel
  readonly entry: Entry
  readonly marks: Marks
}

/** One page of an inbox, newest first, read at one moment with its counts. */
export interface InboxPage {
  readonly items: readonly InboxItem[]
  readonly counts: Counts
  /** Head of the log at that moment. */
  readonly head: number
  /** True where older items follow. */
  readonly more: boolean
}

/** A subscriber whom a ticket admits. */
export interface TicketHolder {
  readonly user: string
  readonly topics: readonly string[]
}

/** A notification as its producer may look it up. */
export interface StoredNotification {
  readonly id: string
  readonly to: Recipients
  readonly content: string
  readonly createdAt: number
  readonly expiresAt?: number | undefined
  /** Name of the publish key it came by. */
  readonly producer: string
}

/** What readers did with a notification, in numbers. Archived and read imply seen. */
export interface Readers {
  readonly seen: number
  readonly read: number
  readonly archived: number
}

/** Where a notification lies, and what became of it there. */
export interface NotificationTrace extends StoredNotification {
  /** `epoch` tells which log. */
  readonly places: readonly {
    readonly channel: Channel
    readonly seq: number
    readonly epoch: string
  }[]
  readonly readers: Readers
}

/** Something about the store's set-up that an operator should change. */
export interface StoreWarning {
  readonly code: string
  readonly message: string
  readonly action: string
}

/** One sequence of events, in which each has a place of its own. */
export interface Log {
  /** Names one unbroken life of the log. */
  readonly epoch: string
  /** Place of the newest event. 0 in an empty log. */
  readonly head: number
  /** Oldest place that can still be resumed. */
  readonly oldest: number
  /** Whether it can be read and written now, as far as is known. */
  readonly healthy: boolean
  /** What the log knows of the place `seq` that a cursor with this epoch names. */
  locate(epoch: string, seq: number): Located
}

/**
 * `held`: the log has, or had, that place, and can be read on from there as far as retention allows. `undone`: a cursor of this log,
 * whose place it does not have: it lost what was there, since it was put back to an earlier state, or nobody ever gave that cursor.
 * `foreign`: a cursor of another log.
 */
export type Located = 'held' | 'undone' | 'foreign'

/** Hears what became durable together, in the order of the log that it is in. */
export type Follower = (events: readonly FollowedEvent[], log: Log) => void

export interface StoreStatus {
  readonly healthy: boolean
  /** Why not, for an operator. */
  readonly reason?: string | undefined
  /** True if an operator has to change its set-up: then the node is not ready, even if some of its logs work. */
  readonly misconfigured?: boolean | undefined
  /** True if it cannot come back within this process, which then ends. */
  readonly lost?: boolean | undefined
  readonly bytes?: number | undefined
  /** Milliseconds of the last commit, where there is such a thing. */
  readonly commitMs?: number | undefined
  readonly warnings?: readonly StoreWarning[] | undefined
}

/** Why a store cannot do what was asked; the only error its methods reject with for outside causes. */
export class StoreError extends Error {
  readonly kind: 'full' | 'unavailable'
  constructor(kind: 'full' | 'unavailable', message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StoreError'
    this.kind = kind
  }
}

/**
 * The log and what subscribers did with it. Promises that every store keeps, and `test/stores/store-contract.ts` checks:
 *
 * - A promise that resolved is durable as configured; one that rejected with {@link StoreError} `full` or `unavailable` appended nothing
 *   that will be shown twice if the caller tries again with the same idempotency key.
 * - Events are followed in the order of their `seq` within a log, each once, after they are durable, also those of this process; the
 *   promise of a call that is short resolves before or in the same turn as its events are followed.
 * - Append, idempotency, collapse, expiry, recall and marks of one notification happen together or not at all.
 * - However long a call is, others do not wait for it: it is cut into slices, and the calls take turns.
 * - Reads see everything that was followed before they were called.
 * - The place behind an event of a shared channel is no event's, so that whoever is told the counts there can say so. When entries leave
 *   channels without an event, the log moves on by a place.
 * - Expired entries are in no page and no count from the millisecond they expire.
 */
export interface Store {
  readonly kind: 'sqlite' | 'memory' | 'redis'
  /** All logs: one, or where they are split, as many as there are shards. What is for a topic or for everyone lies in each of them. */
  readonly logs: readonly [Log, ...Log[]]
  /** The one log in which everything is that concerns a user: every place and cursor of that user's names a place there. Always the same object. */
  logOf(user: string): Log

  /** Hands every later event to the one listener. Called once, before anything else. */
  follow(listener: Follower): void

  /** Resolves when everything in the user's log has been followed that other processes appended before the call, or when that cannot be had. */
  catchUp(user: string): Promise<void>

  /**
   * Appends in the order given; one outcome each. One bad item never spoils the others. Each item is durable by itself: a call that is
   * cut short leaves its first items appended, and rejects only if none was.
   */
  publish(items: readonly Publication[]): Promise<readonly PublishOutcome[]>
  /** Null where it does not exist, expired, was recalled, or was collapsed or dropped in every channel. */
  notification(id: string): Promise<StoredNotification | null>
  /** The same with its places and readers, for an operator. Null where `notification` would be. */
  trace(id: string): Promise<NotificationTrace | null>
  /** Removes it from every channel, one `removed` event each. False where `notification` would be null. */
  recall(id: string): Promise<boolean>

  /**
   * Sets marks for a user, in one `state` event if anything changed: `ids` of that event are those that changed, or null with
   * `upTo`. Read and archived imply seen; `unread` does nothing to an archived entry and keeps it seen; seen never goes back.
   */
  mark(user: string, op: MarkOp, target: MarkTarget): Promise<MarkOutcome>
  /** Removes the user's own entries and all marks; one `removed` event with `ids` null and `upTo` its predecessor's place. */
  erase(user: string): Promise<void>

  /**
   * Events after a place, in the user's scope, at most `limit`, and no more than {@link MAX_PAGE_BYTES} of them unless there is only one.
   * The place must be at most `head`.
   */
  read(
    user: string,
    scope: readonly Channel[],
    after: number,
    limit: number
  ): Promise<LogPage | LogGap>
  /** Newest first, older than `before` where given. `all` and `unread` leave archived items out. */
  inbox(
    user: string,
    scope: readonly Channel[],
    query: { status: InboxStatus; limit: number; before?: number | undefined }
  ): Promise<InboxPage>
  counts(user: string, scope: readonly Channel[]): Promise<Counts>

  /** `hash` identifies a ticket without being one. Durable, and usable once on all nodes together. */
  putTicket(hash: string, holder: TicketHolder, expiresAt: number): Promise<void>
  /** Null where it is unknown, used, expired or revoked. `keep` looks without using it up. */
  takeTicket(hash: string, options?: { keep?: boolean }): Promise<TicketHolder | null>
  /** Refuses what was issued to the user up to now: forgets tickets, remembers the moment, and is followed by `revoked`. */
  revoke(user: string): Promise<void>
  /** When the user was last revoked, milliseconds since 1970; 0 for never. */
  revokedAt(user: string): Promise<number>

  status(): StoreStatus
  /** Takes no more work and fails what waits, so that everybody has an answer before the process ends. What runs is finished. */
  abandon(): void
  /** Finishes what was asked, then lets go of files and connections. */
  close(): Promise<void>
}
