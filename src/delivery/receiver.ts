import { asCursor, type Cursor } from '../log/cursor.ts'
import type { EventLog, Inbox } from '../log/store.ts'
import { ClientState } from './client-state.ts'
import type { Codec } from './codec.ts'
import type { EncodedEvent } from './encoded-event.ts'
import type { FanOut, Listener, SharedFrames } from './fan-out.ts'
import type { CloseReason } from './goodbye.ts'
import type { ObservedConnection, Observer } from './observer.ts'
import type { Sink } from './sink.ts'

/** What a connection or poll needs from the hub that holds it. */
export interface ReceiverHost {
  readonly store: EventLog & Pick<Inbox, 'inbox'>
  readonly observer: Observer
  /** Name of this process, in the ids of its connections. */
  readonly node: string
  readonly heartbeatMs: number
  readonly maxBufferedBytes: number
  /** How many milliseconds a lagging client may go without reading anything. */
  readonly stallMs: number
  /** The receiver has ended: the host must keep no reference to it. */
  closed(receiver: Receiver, reason: CloseReason): void
}

/** Constructor parameters of a connection or poll. */
export interface Opening {
  /** Sequential; unique within this process. */
  readonly number: number
  readonly user: string
  readonly topics: readonly string[]
  readonly fanOut: FanOut
  readonly sink: Sink
  readonly codec: Codec
  /** The cursor that the client sent, unvalidated. */
  readonly cursor: string | undefined
  /** Maximum number of notifications in the `ready` frame. */
  readonly items: number
  /** Monotonic milliseconds (`performance.now()`) at which it ends, and why. */
  readonly closeAt: number
  readonly closeReason: CloseReason
}

/** The public id of a connection; `Connections.find` looks it up again. */
export const connectionId = (node: string, number: number): string =>
  `${node}-${number.toString(36)}`

/** Receives events for one subscriber: a {@link Connection}, or a {@link Poll}. */
export abstract class Receiver implements ObservedConnection, Listener {
  readonly number: number
  readonly user: string
  readonly topics: readonly string[]
  readonly fanOut: FanOut
  readonly codec: Codec
  readonly transport: Sink['transport']
  readonly remoteAddress: string
  readonly items: number
  readonly openedAt = performance.now()
  readonly closeAt: number
  readonly closeReason: CloseReason
  protected readonly host: ReceiverHost
  protected readonly client: ClientState
  #frames = 0

  constructor(host: ReceiverHost, opening: Opening) {
    this.host = host
    this.number = opening.number
    this.user = opening.user
    this.topics = opening.topics
    this.fanOut = opening.fanOut
    this.codec = opening.codec
    this.transport = opening.sink.transport
    this.remoteAddress = opening.sink.remoteAddress
    this.items = opening.items
    this.closeAt = opening.closeAt
    this.closeReason = opening.closeReason
    this.client = new ClientState(opening.fanOut.log.epoch, asCursor(opening.cursor))
  }

  get id(): string {
    return connectionId(this.host.node, this.number)
  }

  get frames(): number {
    return this.#frames
  }

  get seq(): number {
    return this.client.seq
  }

  /** The cursor of {@link seq}; null before the first frame. */
  get cursor(): Cursor | null {
    return this.client.cursor
  }

  /** `frames` frames are about to be sent. */
  protected sending(frames: number): void {
    this.#frames += frames
    this.host.observer.wrote(frames)
  }

  abstract get phase(): 'replaying' | 'live' | 'blocked' | 'closed'
  /** Bytes that were sent and that the kernel has not accepted yet. */
  abstract get bufferedBytes(): number
  /**
   * When a lagging client will count as too slow unless it reads something first (monotonic
   * milliseconds); null if it keeps up.
   */
  abstract get stallAt(): number | null
  /** This process stalled for `ms` milliseconds, in which the client could not show that it reads. */
  abstract excuseStall(ms: number): void
  /** True if the client's machine has not acknowledged anything recently. */
  abstract get stale(): boolean

  /**
   * Reads what the client asked for. Never rejects: if the store fails, it closes as `unavailable`.
   */
  abstract begin(): Promise<void>
  /** Hands over events, in order; those that the client has received are skipped. */
  abstract deliver(events: readonly EncodedEvent[]): void
  /** The same, with frames that its whole audience shares. */
  abstract deliverShared(shared: SharedFrames): void
  /** Counts may have changed without a frame that says so. */
  abstract invalidateCounts(): void
  /**
   * The log lost events, or this process missed some: the client gets a fresh page instead of the
   * events that it missed.
   */
  abstract restart(): void
  /** Ends it, once. */
  abstract close(reason: CloseReason): void
}
