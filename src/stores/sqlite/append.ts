import { IDEMPOTENCY_MS } from '../../bounds/limits.ts'
import { ITEM } from './commands.ts'
import type { SqlValue, Statement } from './driver.ts'
import type { Ledger } from './write-context.ts'

/** Appends publications. */
export class Publisher {
  readonly #ledger: Ledger
  readonly #findKey: Statement
  readonly #putKey: Statement
  readonly #insertNote: Statement
  readonly #insertEntry: Statement
  readonly #findCollapsed: Statement

  constructor(ledger: Ledger) {
    const { db } = ledger
    this.#ledger = ledger
    this.#findKey = db.prepare('SELECT fingerprint, id, at FROM idem WHERE key = ? AND exp > ?')
    this.#putKey = db.prepare(
      'INSERT OR REPLACE INTO idem (key, fingerprint, id, at, exp) VALUES (?, ?, ?, ?, ?)'
    )
    this.#insertNote = db.prepare(
      'INSERT INTO note (seq, id, recipients, content, at, exp, left_over, producer) VALUES (?, ?, ?, ?, ?, ?, ?, ?)'
    )
    this.#insertEntry = db.prepare(
      'INSERT INTO entry (channel, seq, note, times, key, replaces, replaced, exp) VALUES (?, ?, ?, ?, ?, ?, ?, ?)'
    )
    this.#findCollapsed = db.prepare(
      'SELECT e.seq, e.note, e.times, e.exp, n.id FROM entry e JOIN note n ON n.seq = e.note WHERE e.channel = ? AND e.key = ?'
    )
  }

  /** One publication, as it lies at `at` in the request; see {@link ITEM}. */
  publish(request: readonly unknown[], at: number, results: unknown[]): void {
    const ledger = this.#ledger
    const id = request[at] as string
    const recipients = request[at + 1] as string
    const createdAt = request[at + 4] as number
    const expiresAt = request[at + 5] as number | null
    const idempotencyKey = request[at + 7] as string | null
    const fingerprint = request[at + 8] as string | null

    if (idempotencyKey !== null) {
      const before = this.#findKey.get(idempotencyKey, ledger.now)
      if (before) {
        if (before['fingerprint'] === fingerprint)
          results.push(ITEM.replayed, before['id'], before['at'])
        else results.push(ITEM.reused)
        return
      }
    }
    if (expiresAt !== null && expiresAt <= ledger.now) {
      results.push(ITEM.expired)
      return
    }
    if (idempotencyKey !== null)
      this.#putKey.run(idempotencyKey, fingerprint, id, createdAt, ledger.now + IDEMPOTENCY_MS)
    if (request[at + 6] === 1) {
      results.push(ITEM.ephemeral)
      return
    }
    if (expiresAt !== null && expiresAt < ledger.nextExpiry) ledger.nextExpiry = expiresAt

    const seq = ledger.next
    const key = request[at + 3] as string | null
    const users = recipients.startsWith('users:')
      ? [...new Set(recipients.slice(6).split('\n'))]
      : null
    const content = request[at + 2] as SqlValue
    const producer = request[at + 9] as SqlValue
    this.#insertNote.run(
      seq,
      id,
      recipients,
      content,
      createdAt,
      expiresAt,
      users ? users.length : 1,
      producer
    )
    const start = results.length
    results.push(ITEM.accepted, seq)
    const collapses: unknown[] = []
    if (users)
      for (const user of users) this.#append(`user:${user}`, seq, key, expiresAt, collapses)
    else this.#append(recipients, seq, key, expiresAt, collapses)
    if (key === null || !collapses.some((value) => typeof value === 'string')) return
    results[start] = ITEM.collapsed
    for (const value of collapses) results.push(value)
  }

  #append(
    channel: string,
    note: number,
    key: string | null,
    expiresAt: number | null,
    collapses: unknown[]
  ): void {
    const ledger = this.#ledger
    let times = 0
    let replaces: string | null = null
    let replaced: number | null = null
    if (key !== null) {
      const before = this.#findCollapsed.get(channel, key)
      if (before) {
        // One that has expired and only waits to be swept makes room, but nobody saw it go: this one is new.
        if (before['exp'] === null || Number(before['exp']) > ledger.now) {
          times = Number(before['times']) + 1
          replaces = before['id'] as string
          replaced = before['seq'] as number
        }
        ledger.takeBack(channel, Number(before['seq']), Number(before['note']))
      }
      collapses.push(times, replaces)
    }
    this.#insertEntry.run(channel, ledger.take(), note, times, key, replaces, replaced, expiresAt)
    ledger.entryAdded(channel)
  }
}
