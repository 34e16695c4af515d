import type { Publication } from '../log/notification.ts'
import type { Accepted, DeliveryLog } from './delivery-log.ts'
import type { DeliveryRecords } from './delivery-records.ts'
import type { Stats } from './stats.ts'

/** What the publish routes report. */
export interface PublishObserver {
  /**
   * A request published these notifications; `durableAfterMs` passed from its arrival to the
   * commit.
   */
  accepted(publications: readonly Publication[], about: Accepted, durableAfterMs: number): void
  /** A request repeated `count` notifications that were accepted before. */
  replayed(count: number, producer: string): void
  /**
   * `count` notifications were rejected; `producer` is undefined if it was not the fault of one.
   */
  rejected(problem: string, count: number, producer: string | undefined): void
  /** The store answered a request after so many milliseconds. */
  acknowledged(ms: number): void
  /** The store failed at a part of a batch. */
  failed(error: unknown, requestId: string): void
}

/** Turns what the publish routes do into figures, log lines and the records of delivery reports. */
export const publishObserver = (
  stats: Stats,
  log: DeliveryLog,
  records: DeliveryRecords,
  onError: (code: string, message: string, about: object) => void
): PublishObserver => ({
  accepted(publications, about, durableAfterMs) {
    stats.publishes.accept(publications.length, about.producer)
    log.accepted(publications.length, about)
    for (const publication of publications) records.accepted(publication, durableAfterMs)
  },
  replayed: (count, producer) => stats.publishes.replay(count, producer),
  rejected: (problem, count, producer) => stats.publishes.reject(problem, count, producer),
  acknowledged: (ms) => stats.publishAck.record(ms),
  failed: (err, requestId) =>
    onError('unavailable', 'the store took only a part of a batch', { requestId, err })
})
