import type { Statement } from './driver.ts'
import type { Ledger } from './write-context.ts'

/** Tickets and revocations. */
export class Tickets {
  readonly #ledger: Ledger
  readonly #put: Statement
  readonly #find: Statement
  readonly #drop: Statement
  readonly #dropAll: Statement
  readonly #revoke: Statement

  constructor(ledger: Ledger) {
    const { db } = ledger
    this.#ledger = ledger
    this.#put = db.prepare('INSERT OR REPLACE INTO ticket VALUES (?, ?, ?, ?)')
    this.#find = db.prepare('SELECT user, topics FROM ticket WHERE hash = ? AND exp > ?')
    this.#drop = db.prepare('DELETE FROM ticket WHERE hash = ?')
    this.#dropAll = db.prepare('DELETE FROM ticket WHERE user = ?')
    this.#revoke = db.prepare('INSERT OR REPLACE INTO revocation VALUES (?, ?)')
  }

  put(hash: string, user: string, topics: string, expiresAt: number): void {
    this.#put.run(hash, user, topics, expiresAt)
  }

  /** Pushes the user and the topics as JSON, or two nulls. */
  take(hash: string, results: unknown[]): void {
    const row = this.#find.get(hash, this.#ledger.now)
    if (row) this.#drop.run(hash)
    results.push(row?.['user'] ?? null, row?.['topics'] ?? null)
  }

  revoke(user: string): void {
    this.#dropAll.run(user)
    this.#revoke.run(user, this.#ledger.now)
  }
}
