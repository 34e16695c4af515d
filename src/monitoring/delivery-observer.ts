import type { EncodedEvent, Sendable } from '../delivery/encoded-event.ts'
import type { CloseReason, Refusal } from '../delivery/goodbye.ts'
import type { ObservedConnection, Observer } from '../delivery/observer.ts'
import type { ResetReason } from '../log/cursor.ts'
import type { DeliveryLog } from './delivery-log.ts'
import { connectionRecord, type DeliveryRecords } from './delivery-records.ts'
import { messageOf } from './describe-error.ts'
import type { Stats } from './stats.ts'

/**
 * Turns what the hub does into figures, log lines and the records that delivery reports are made
 * from.
 */
export class DeliveryObserver implements Observer {
  readonly #stats: Stats
  readonly #log: DeliveryLog
  readonly #records: DeliveryRecords

  constructor(stats: Stats, log: DeliveryLog, records: DeliveryRecords) {
    this.#stats = stats
    this.#log = log
    this.#records = records
  }

  opened(connection: ObservedConnection, active: number, requestId: string | undefined): void {
    this.#stats.connections.open(connection.transport, active)
    this.#log.opened(connection, requestId)
  }

  closed(connection: ObservedConnection, reason: CloseReason): void {
    this.#records.closed(connectionRecord(connection, { closedAt: Date.now(), reason }))
    const ageMs = performance.now() - connection.openedAt
    this.#stats.connections.close(connection.transport, reason, ageMs)
    this.#log.closed(connection, reason)
  }

  refused(reason: Refusal): void {
    this.#stats.connections.refuse(reason)
  }

  wrote(frames: number): void {
    this.#stats.frames.add(frames)
  }

  replayed(frames: number): void {
    this.#stats.replayedFrames.add(frames)
  }

  reset(connection: ObservedConnection, _reason: ResetReason, lostCursor: string | null): void {
    this.#stats.resets.add()
    if (lostCursor === null) return
    this.#stats.undoneCursors.add()
    this.#log.undone(connection, lostCursor)
  }

  failed(connection: ObservedConnection, error: unknown): void {
    this.#stats.errors.add('stream', messageOf(error), connection.id)
    this.#log.failed(connection, error)
  }

  followed(sent: readonly EncodedEvent[], unsent: readonly Sendable[]): void {
    const now = Date.now()
    for (const event of unsent) this.#records.followed(event, 0, now)
    let lastCreatedAt = 0
    for (const { event, connections } of sent) {
      this.#records.followed(event, connections, now)
      // Events of one millisecond that were sent in one turn took equally long: one sample is
      // enough.
      if (event.kind === 'state' || event.entry.createdAt === lastCreatedAt) continue
      lastCreatedAt = event.entry.createdAt
      this.#stats.publishToWrite.record(Math.max(0, now - lastCreatedAt))
    }
  }
}
