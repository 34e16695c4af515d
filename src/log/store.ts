import type { Channel } from './channel.ts'
import type { FollowedEvent, LoggedEvent, MarkOp } from './event.ts'
import type { Counts, Entry, Marks, Publication } from './notification.ts'

/** Outcome of one publication. */
export type PublishOutcome =
  | { readonly kind: 'accepted'; readonly id: string; readonly createdAt: number }
  /** The same request used this idempotency key before: nothing was appended. */
  | { readonly kind: 'replayed'; readonly id: string; readonly createdAt: number }
  /** Another request used this idempotency key before: nothing was appended. */
  | { readonly kind: 'key-reused' }
  /** It expired before it could be appended. */
  | { readonly kind: 'expired' }
  /** The store failed here but took other items; `error` is what the call would reject with. */
  | { readonly kind: 'failed'; readonly error: unknown }

/**
 * The entries that a mark is for: those with `ids`, in any channel that `allows` accepts, or all up
 * to the seq `upTo` in the channels of `scope`.
 */
export type MarkTarget =
  | { readonly ids: readonly string[]; readonly allows: (channel: Channel) => boolean }
  | { readonly upTo: number; readonly scope: readonly Channel[] }

/** What a mark changed. */
export interface MarkOutcome {
  readonly affected: number
  /** Seq of the state event; the head if nothing changed, because then there is no event. */
  readonly seq: number
}

/**
 * A page of the log for one subscriber, in order, without what was recalled, expired or collapsed
 * since.
 */
export interface LogPage {
  readonly events: readonly LoggedEvent[]
  /**
   * The next page starts after this seq: every event of these channels up to it is in this page or
   * an earlier one.
   */
  readonly upTo: number
  /** True if the log holds more events of these channels after `upTo`. */
  readonly more: boolean
  /**
   * The user's counts over these channels at the moment of the read, for the frames of the page.
   */
  readonly counts: Counts
  /**
   * True if the events of this page may leave the counts of a client that resumes here wrong: its
   * cursor is at an event of a shared channel, whose frame carried no counts, or entries have since
   * left a channel without an event.
   */
  readonly recount: boolean
}

/** The log no longer holds every event after the seq. */
export interface LogGap {
  readonly gap: true
}

/**
 * Which entries an inbox page lists: those not archived, the unread of them, or the archived ones.
 */
export type InboxStatus = 'all' | 'unread' | 'archived'

/** Which page of an inbox to read. */
export interface InboxQuery {
  readonly status: InboxStatus
  readonly limit: number
  /** Only entries with a lower seq. */
  readonly before?: number | undefined
}

/** An entry as one subscriber sees it. */
export interface InboxItem {
  readonly channel: Channel
  readonly entry: Entry
  readonly marks: Marks
}

/** One page of an inbox, newest first, with the counts and the head of the same moment. */
export interface InboxPage {
  readonly items: readonly InboxItem[]
  readonly counts: Counts
  readonly head: number
  /** True if older items follow. */
  readonly more: boolean
}

/** The subscriber that a ticket admits. */
export interface TicketHolder {
  readonly user: string
  readonly topics: readonly string[]
}

/** A notification as its producer may look it up. */
export type StoredNotification = Pick<
  Publication,
  'id' | 'to' | 'content' | 'createdAt' | 'expiresAt' | 'producer'
>

/** How many subscribers saw, read and archived it. Read and archived imply seen. */
export interface Readers {
  readonly seen: number
  readonly read: number
  readonly archived: number
}

/** A notification with its entries and what subscribers did with them. */
export interface NotificationDetails extends StoredNotification {
  /** Its live entries; `epoch` names the log of each. */
  readonly entries: readonly {
    readonly channel: Channel
    readonly seq: number
    readonly epoch: string
  }[]
  readonly readers: Readers
}

/** A fault in the store's set-up that an operator should correct. */
export interface StoreWarning {
  readonly code: string
  readonly message: string
  readonly action: string
}

/** One sequence of events. Each event has a `seq`, higher than all before it. */
export interface Log {
  /** Names the log until it may have lost acknowledged events; then a new epoch begins. */
  readonly epoch: string
  /** Seq of the newest event; 0 in an empty log. */
  readonly head: number
  /** Lowest seq that a client can still resume at. */
  readonly oldest: number
  /** Whether the log can be read and written now, as far as is known. */
  readonly healthy: boolean
  /** Whether this log gave out the cursor with this epoch and seq. */
  cursorStatus(epoch: string, seq: number): CursorStatus
}

/**
 * `held`: the log gave it out, and continues from there as far as retention allows. `undone`: the
 * epoch is this log's, but the log has no such seq: it lost events when an earlier state was
 * restored, or the cursor is forged. `foreign`: the cursor belongs to another log.
 */
export type CursorStatus = 'held' | 'undone' | 'foreign'

/** Receives the events that became durable together, in the order of their log. */
export type Follower = (events: readonly FollowedEvent[], log: Log) => void

/** The state of a store, for an operator. */
export interface StoreStatus {
  readonly healthy: boolean
  /** Why it is not healthy. */
  readonly reason?: string | undefined
  /** True if an operator has to change the set-up. The node is then not ready. */
  readonly misconfigured?: boolean | undefined
  /** True if the store cannot recover within this process, which then ends. */
  readonly lost?: boolean | undefined
  readonly bytes?: number | undefined
  /** Duration of the last commit in milliseconds, if the store commits. */
  readonly commitMs?: number | undefined
  readonly warnings?: readonly StoreWarning[] | undefined
}

/**
 * The only error that a store's methods reject with for an outside cause: the disk is full, or the
 * store cannot be reached.
 */
export class StoreError extends Error {
  readonly kind: 'full' | 'unavailable'
  constructor(kind: 'full' | 'unavailable', message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StoreError'
    this.kind = kind
  }
}

/** What happened: notifications are appended here, and every event is followed and read. */
export interface EventLog {
  /** One log, or one for each shard. Events for a topic or for everyone are in each of them. */
  readonly logs: readonly [Log, ...Log[]]
  /**
   * The log with every event that concerns the user; the user's cursors belong to it. Always
   * returns the same object.
   */
  logOf(user: string): Log
  /** Sends every later event to the one listener. Called once, before anything else. */
  follow(listener: Follower): void
  /**
   * Resolves when the listener has every event of the user's log that any process appended before
   * the call, or when the store cannot get them.
   */
  catchUp(user: string): Promise<void>
  /**
   * Appends in the order given and returns one outcome for each item. A bad item does not affect
   * the others. Each item is durable by itself: a call cut short leaves its first items appended,
   * and rejects only if it appended none.
   */
  publish(items: readonly Publication[]): Promise<readonly PublishOutcome[]>
  /**
   * Null if the id is unknown, expired or recalled, or if every channel collapsed or dropped it.
   */
  notification(id: string): Promise<StoredNotification | null>
  /**
   * Removes a notification from every channel, with one `removed` event each. False if {@link
   * notification} returns null.
   */
  recall(id: string): Promise<boolean>
  /** Removes the channel's live entry with a collapse key; false if it has no such entry. */
  recallKey(channel: Channel, key: string): Promise<boolean>
  /**
   * Events after a seq in the user's scope: at most `limit`, and at most {@link MAX_PAGE_BYTES}
   * unless there is only one. The seq must not be above `head`.
   */
  read(
    user: string,
    scope: readonly Channel[],
    after: number,
    limit: number
  ): Promise<LogPage | LogGap>
}

/** What subscribers did with their notifications. */
export interface Inbox {
  inbox(user: string, scope: readonly Channel[], query: InboxQuery): Promise<InboxPage>
  counts(user: string, scope: readonly Channel[]): Promise<Counts>
  /**
   * Sets marks for a user, and appends one `state` event if anything changed. The event's `ids` are
   * the entries that changed; null if the target is `upTo`. `read` and `archived` also set seen.
   * `unread` skips archived entries. Nothing becomes unseen again.
   */
  mark(user: string, op: MarkOp, target: MarkTarget): Promise<MarkOutcome>
  /**
   * Removes the user's own entries and all marks. Its one `removed` event has `ids` null, and
   * `upTo` is the seq before it.
   */
  erase(user: string): Promise<void>
}

/** Tickets and revocations. */
export interface Credentials {
  /**
   * Stores a ticket by its hash. It is durable, and valid once across all nodes. `expiresAt`:
   * milliseconds since 1970.
   */
  putTicket(hash: string, holder: TicketHolder, expiresAt: number): Promise<void>
  /**
   * Uses a ticket up, or with `keep` only looks. Null if it is unknown, used, expired or revoked.
   */
  takeTicket(hash: string, options?: { keep?: boolean }): Promise<TicketHolder | null>
  /**
   * Invalidates every credential issued to the user so far: deletes tickets, remembers the moment,
   * and sends `revoked` to the listener.
   */
  revoke(user: string): Promise<void>
  /** When the user was last revoked, in milliseconds since 1970; 0 if never. */
  revokedAt(user: string): Promise<number>
}

/** How the store is, and how it stops. */
export interface Operator {
  readonly kind: 'sqlite' | 'memory' | 'redis'
  status(): StoreStatus
  /**
   * A notification with its entries and readers. Null if {@link EventLog.notification} returns
   * null.
   */
  details(id: string): Promise<NotificationDetails | null>
  /**
   * Accepts no more work, rejects what waits, and finishes what runs, so that every caller has an
   * answer before the process ends.
   */
  abandon(): void
  /** Finishes the work it has accepted, then releases files and connections. */
  close(): Promise<void>
}

/**
 * The log and what subscribers did with it. `test/stores/store-contract.ts` checks what every store
 * promises:
 *
 * - A resolved promise is durable as configured. A call rejected with a {@link StoreError} may be
 *   retried with the same idempotency key: nothing is delivered twice.
 * - The listener receives the events of a log in the order of their `seq`, each once, after they
 *   are durable, including those of this process. The promise of a short call resolves before the
 *   listener receives its events, or in the same turn.
 * - Append, idempotency, collapse, expiry, recall and marks of one notification happen together or
 *   not at all.
 * - A long call does not hold up others: it is cut into slices, and the calls take turns.
 * - A read sees every event that the listener received before the call.
 * - The seq after an event of a shared channel stays unused, so that a frame with the counts there
 *   can have a cursor of its own. When entries leave channels without an event, the log skips a
 *   seq.
 * - Pages and counts leave out an entry from the millisecond it expires.
 */
export type Store = EventLog & Inbox & Credentials & Operator
