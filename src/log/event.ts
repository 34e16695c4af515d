import type { Channel } from './channel.ts'
import type { Entry, Marks } from './notification.ts'

/** What a mark does, in the words of the wire. */
export type MarkOp = 'read' | 'unread' | 'seen' | 'archived'
/** What a state event reports: a mark, or entries that were removed. */
export type StateOp = MarkOp | 'removed'

interface InLog {
  readonly channel: Channel
  /** Strictly increasing within a log, across all channels. */
  readonly seq: number
}

/** A notification was appended. `updated`: it replaced an earlier one with the same key. */
export interface NotificationEvent extends InLog {
  readonly kind: 'notification'
  readonly op: 'created' | 'updated'
  readonly entry: Entry
  /** In a replay: the subscriber's current marks. A new notification has none. */
  readonly marks?: Marks | undefined
}

/** `updated` if an entry replaced an earlier one. */
export const opOf = ({ replaces }: Pick<Entry, 'replaces'>): NotificationEvent['op'] =>
  replaces === undefined ? 'created' : 'updated'

/** Marks were set, or entries removed. `ids` is null with `upTo`: all entries up to that seq. */
export interface StateEvent extends InLog {
  readonly kind: 'state'
  readonly op: StateOp
  readonly ids: readonly string[] | null
  readonly upTo: number | null
}

/** An event that is in the log: it has a seq, moves the cursor, and can be read again. */
export type LoggedEvent = NotificationEvent | StateEvent

/** Delivered to the clients that are connected now, and not stored. */
export interface EphemeralEvent {
  readonly kind: 'ephemeral'
  readonly channel: Channel
  readonly entry: Omit<Entry, 'seq'>
}

/**
 * Expiry or retention removed entries of a channel: its counts may have changed. Clients get no
 * frame for it.
 */
export interface DroppedEvent {
  readonly kind: 'dropped'
  readonly channel: Channel
}

/** Every credential issued to the user so far was revoked: end their streams. */
export interface RevokedEvent {
  readonly kind: 'revoked'
  readonly user: string
}

/**
 * The log cannot be followed from where it was. It continues from `head`, in the present epoch of
 * the log. Always comes alone.
 */
export interface RestartedEvent {
  readonly kind: 'restarted'
  readonly head: number
}

/** What a follower of the log receives, in the order of the log. */
export type FollowedEvent =
  | LoggedEvent
  | EphemeralEvent
  | DroppedEvent
  | RevokedEvent
  | RestartedEvent
