import type { Channel } from './channel.ts'
import type { Entry, Marks } from './notification.ts'

export type MarkOp = 'read' | 'unread' | 'seen' | 'archived'
export type StateOp = MarkOp | 'removed'

interface InLog {
  readonly channel: Channel
  /** Place in the log: strictly increasing over all channels. */
  readonly seq: number
}

/** A notification was appended, or took the place of an earlier one with the same key (`updated`). */
export interface NotificationEvent extends InLog {
  readonly kind: 'notification'
  readonly op: 'created' | 'updated'
  readonly entry: Entry
  /** In a replay: the reader's marks, now. Live there are none yet. */
  readonly marks?: Marks | undefined
}

/** Marks were set, or entries removed. `ids` null with `upTo`: everything up to that place. */
export interface StateEvent extends InLog {
  readonly kind: 'state'
  readonly op: StateOp
  readonly ids: readonly string[] | null
  readonly upTo: number | null
}

/** What has a place in the log, can be read again after a cursor, and moves one. */
export type LoggedEvent = NotificationEvent | StateEvent

/** Delivered to who is connected now; not in the log. */
export interface EphemeralEvent {
  readonly kind: 'ephemeral'
  readonly channel: Channel
  readonly entry: Omit<Entry, 'seq'>
}

/** Entries left a channel by expiry or retention: counts there may have changed. No frame of its own. */
export interface DroppedEvent {
  readonly kind: 'dropped'
  readonly channel: Channel
}

/** A user's credentials from before were revoked: end the streams. */
export interface RevokedEvent {
  readonly kind: 'revoked'
  readonly user: string
}

/** The log cannot be followed on from where it was: it goes on from `head`, and the epoch is the store's of now. Comes alone. */
export interface RestartedEvent {
  readonly kind: 'restarted'
  readonly head: number
}

/** What a follower of the log hears, in the order of the log. */
export type FollowedEvent =
  | LoggedEvent
  | EphemeralEvent
  | DroppedEvent
  | RevokedEvent
  | RestartedEvent
