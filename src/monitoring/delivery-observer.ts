import type { CloseReason, Refusal } from '../delivery/close-reason.ts'
import type { Outgoing, Sendable } from '../delivery/encoded-event.ts'
import type { ObservedConnection, Observer } from '../delivery/observer.ts'
import type { ResetReason } from '../log/cursor.ts'
import type { LogLines } from './delivery-log.ts'
import { readingOf, type Traces } from './delivery-report.ts'
import { messageOf } from './describe-error.ts'
import type { Stats } from './figures.ts'

/** Turns what the hub does into figures, log lines and the records that delivery reports are made from. */
export class DeliveryObserver implements Observer {
  readonly #stats: Stats
  readonly #lines: LogLines
  readonly #traces: Traces

  constructor(stats: Stats, lines: LogLines, traces: Traces) {
    this.#stats = stats
    this.#lines = lines
    this.#traces = traces
  }

  opened(connection: ObservedConnection, active: number, requestId: string | undefined): void {
    this.#stats.opened(active, connection.transport)
    this.#lines.opened(connection, requestId)
  }

  closed(connection: ObservedConnection, reason: CloseReason): void {
    this.#traces.departed(readingOf(connection, { closedAt: Date.now(), reason }))
    this.#stats.closed(reason, connection.transport, performance.now() - connection.openedAt)
    this.#lines.closed(connection, reason)
  }

  refused(reason: Refusal): void {
    this.#stats.refused(reason)
  }

  wrote(frames: number): void {
    this.#stats.frames += frames
  }

  replayed(frames: number): void {
    this.#stats.replayed += frames
  }

  reset(connection: ObservedConnection, _reason: ResetReason, undone: string | null): void {
    this.#stats.resets++
    if (undone === null) return
    this.#stats.undone++
    this.#lines.undone(connection, undone)
  }

  failed(connection: ObservedConnection, error: unknown): void {
    this.#stats.error('stream', messageOf(error), connection.id)
    this.#lines.failed(connection, error)
  }

  followed(sent: readonly Outgoing[], unsent: readonly Sendable[]): void {
    const now = Date.now()
    for (const event of unsent) this.#traces.followed(event, 0, now)
    let lastCreatedAt = 0
    for (const { event, connections } of sent) {
      this.#traces.followed(event, connections, now)
      // Events of one millisecond that were sent in one turn took equally long: one sample is enough.
      if (event.kind === 'state' || event.entry.createdAt === lastCreatedAt) continue
      lastCreatedAt = event.entry.createdAt
      this.#stats.publishToWrite.record(Math.max(0, now - lastCreatedAt))
    }
  }
}
