import type { TicketHolder } from '../../log/store.ts'
import type { Commands } from './commands.ts'
import type { Statement } from './driver.ts'
import type { WriteContext } from './write-context.ts'

/** Writes tickets and revocations. */
export class Tickets {
  readonly #context: WriteContext
  readonly #put: Statement
  readonly #find: Statement<TicketRow>
  readonly #delete: Statement
  readonly #deleteAll: Statement
  readonly #revoke: Statement

  constructor(context: WriteContext) {
    const { db } = context
    this.#context = context
    this.#put = db.prepare('INSERT OR REPLACE INTO ticket VALUES (?, ?, ?, ?)')
    this.#find = db.prepare(FIND_TICKET)
    this.#delete = db.prepare('DELETE FROM ticket WHERE hash = ?')
    this.#deleteAll = db.prepare('DELETE FROM ticket WHERE user = ?')
    this.#revoke = db.prepare('INSERT OR REPLACE INTO revocation VALUES (?, ?)')
  }

  put({ hash, holder, expiresAt }: Commands['putTicket']): null {
    this.#put.run(hash, holder.user, JSON.stringify(holder.topics), expiresAt)
    return null
  }

  /** Uses a ticket up. */
  take({ hash }: Commands['takeTicket']): TicketHolder | null {
    const row = this.#find.get(hash, this.#context.now)
    if (!row) return null
    this.#delete.run(hash)
    return holderOf(row)
  }

  revoke({ user }: Commands['revoke']): null {
    this.#deleteAll.run(user)
    this.#revoke.run(user, this.#context.now)
    return null
  }
}

/** A row of {@link FIND_TICKET}. */
export interface TicketRow {
  readonly user: string
  readonly topics: string
}

/** Finds a ticket by its hash at a moment. */
export const FIND_TICKET = 'SELECT user, topics FROM ticket WHERE hash = ? AND exp > ?'

/** The subscriber that a ticket admits. */
export const holderOf = ({ user, topics }: TicketRow): TicketHolder => ({
  user,
  topics: JSON.parse(topics)
})
