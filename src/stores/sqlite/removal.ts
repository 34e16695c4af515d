import { RETENTION_SLICE } from '../../bounds/limits.ts'
import type { Statement } from './driver.ts'
import type { Reach } from './reach.ts'
import type { Ledger } from './write-context.ts'

/** Rows of a kind that one step of an erasure removes. */
const SLICE = RETENTION_SLICE

/** Takes back what was published, and what a user had. */
export class Remover {
  readonly #ledger: Ledger
  readonly #reach: Reach
  readonly #find: Statement
  readonly #own: Statement
  readonly #ownStates: Statement
  readonly #ownMarks: Statement
  readonly #ownTickets: Statement

  constructor(ledger: Ledger, reach: Reach) {
    const { db } = ledger
    this.#ledger = ledger
    this.#reach = reach
    this.#find = db.prepare(
      'SELECT seq, recipients FROM note WHERE id = ? AND (exp IS NULL OR exp > ?)'
    )
    this.#own = db.prepare('SELECT seq, note FROM entry WHERE channel = ? LIMIT ?')
    this.#ownStates = db.prepare(
      'DELETE FROM state WHERE seq IN (SELECT seq FROM state WHERE channel = ? LIMIT ?)'
    )
    this.#ownMarks = db.prepare(
      'DELETE FROM mark WHERE (user, channel, seq) IN (SELECT user, channel, seq FROM mark WHERE user = ? LIMIT ?)'
    )
    this.#ownTickets = db.prepare(
      'DELETE FROM ticket WHERE hash IN (SELECT hash FROM ticket WHERE user = ? LIMIT ?)'
    )
  }

  /** Pushes the channels it was removed from, and the place of the first of its events; they follow each other. */
  recall(id: string, results: unknown[]): void {
    const ledger = this.#ledger
    const note = this.#find.get(id, ledger.now)
    const channels: string[] = []
    const first = note ? ledger.next : 0
    if (note) {
      const seq = Number(note['seq'])
      const text = note['recipients'] as string
      const all = text.startsWith('users:')
        ? [...new Set(text.slice(6).split('\n'))].map((user) => `user:${user}`)
        : [text]
      all.forEach((channel, k) => {
        if (!ledger.takeBack(channel, seq + k, seq)) return
        ledger.appendState(channel, 'removed', JSON.stringify([id]), null)
        channels.push(channel)
      })
    }
    results.push(channels, first)
  }

  /** One slice of what a user has. Pushes the place of the event, or null if there is more. */
  erase(user: string, results: unknown[]): void {
    const ledger = this.#ledger
    const channel = `user:${user}`
    const entries = this.#own.all(channel, SLICE)
    for (const entry of entries)
      ledger.removeEntry(channel, Number(entry['seq']), Number(entry['note']))
    // What was there can no longer be told: a cursor from before gets a fresh page instead. One of the last event has had all of it,
    // and that may lie a place before the head.
    ledger.raiseFloor(channel, ledger.head - 1)
    const last = ledger.next - 1
    ledger.forget(channel)
    const others = [
      this.#ownStates.run(channel, SLICE),
      this.#ownMarks.run(user, SLICE),
      this.#ownTickets.run(user, SLICE)
    ]
    const more = entries.length === SLICE || others.some(({ changes }) => Number(changes) === SLICE)
    if (more) this.#reach.lower(user)
    else this.#reach.forget(user)
    results.push(more ? null : ledger.appendState(channel, 'removed', null, last))
  }
}
