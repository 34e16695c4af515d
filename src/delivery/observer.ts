import type { ResetReason } from '../log/cursor.ts'
import type { EncodedEvent, Sendable } from './encoded-event.ts'
import type { CloseReason, Refusal } from './goodbye.ts'
import type { Sink } from './sink.ts'

/** What an observer may read of a connection, while it is open and after it was closed. */
export interface ObservedConnection {
  /** Public and unique over all nodes. */
  readonly id: string
  readonly user: string
  readonly topics: readonly string[]
  readonly transport: Sink['transport']
  readonly remoteAddress: string
  /** Monotonic milliseconds (`performance.now()`). */
  readonly openedAt: number
  /** How many frames it was sent. */
  readonly frames: number
  /**
   * The client has received every event up to this seq that concerns it; -1 before the first frame.
   */
  readonly seq: number
}

/**
 * Receives what the hub does, as it happens. It answers nothing and never throws.
 */
export interface Observer {
  /**
   * A connection was opened. `active` is how many are open now, this one included; `requestId` is
   * that of the request that opened it.
   */
  opened(connection: ObservedConnection, active: number, requestId: string | undefined): void
  closed(connection: ObservedConnection, reason: CloseReason): void
  /** A client was refused a connection. */
  refused(reason: Refusal): void
  /** A connection was sent `frames` frames. */
  wrote(frames: number): void
  /** Of the frames that are sent, `frames` were read from the log. */
  replayed(frames: number): void
  /**
   * A connection starts over with a fresh page. `lostCursor` is the cursor it arrived with if its
   * log has lost that `seq`, else null.
   */
  reset(connection: ObservedConnection, reason: ResetReason, lostCursor: string | null): void
  /** Reading for a connection failed; it is closed as `unavailable`. */
  failed(connection: ObservedConnection, error: unknown): void
  /**
   * Live events that became durable together. Each event of `sent` knows how many connections it
   * was handed to; `unsent` are for users without a connection here.
   */
  followed(sent: readonly EncodedEvent[], unsent: readonly Sendable[]): void
}
