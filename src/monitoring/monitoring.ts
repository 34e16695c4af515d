import { StoreError } from '../log/store.ts'
import { DeliveryLog, type Logger } from './delivery-log.ts'
import { DeliveryObserver } from './delivery-observer.ts'
import { DeliveryRecords } from './delivery-records.ts'
import { type PublishObserver, publishObserver } from './publish-observer.ts'
import { SignIns } from './sign-ins.ts'
import { Stats } from './stats.ts'

/** Error codes that no response carries. */
const INNER_CODES = ['stream', 'alert', 'socket-table', 'slow-answer']

/** Where the other parts report what happens. It needs none of them, so it is made first. */
export class Monitoring {
  readonly stats: Stats
  readonly log: DeliveryLog
  readonly records = new DeliveryRecords()
  readonly signIns: SignIns
  readonly observer: DeliveryObserver
  readonly publishes: PublishObserver

  /** `problems`: every problem that a response may report, by slug. */
  constructor(log: Logger, problems: Readonly<Record<string, { readonly status: number }>>) {
    const rows = Object.entries(problems)
    const ours = rows.filter(([, { status }]) => status >= 500).map(([slug]) => slug)
    this.stats = new Stats({
      problems: rows.map(([slug]) => slug),
      errorCodes: [...INNER_CODES, ...ours]
    })
    this.log = new DeliveryLog(log)
    this.signIns = new SignIns((trouble) => this.log.signInTrouble(trouble))
    this.observer = new DeliveryObserver(this.stats, this.log, this.records)
    this.publishes = publishObserver(this.stats, this.log, this.records, this.fault)
  }

  /**
   * Reports an error that is our fault. `message` is for operators and holds no secret; an `err`
   * among the fields is its cause. Bound, so that it can be passed on by itself.
   */
  readonly fault = (code: string, message: string, fields: object = {}): void => {
    this.stats.errors.add(code, message)
    if ('err' in fields && fields.err instanceof StoreError) this.stats.storeFailed(message)
    this.log.error(code, { message, ...fields })
  }
}
