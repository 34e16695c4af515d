import { RETENTION_SLICE } from '../../bounds/limits.ts'
import { channelsOf, userChannel } from '../../log/channel.ts'
import type { Commands, Results } from './commands.ts'
import { changes, type Statement } from './driver.ts'
import { decodeRecipients } from './recipients.ts'
import type { Watermarks } from './watermarks.ts'
import type { WriteContext } from './write-context.ts'

/** Recalls notifications and erases users. */
export class Removal {
  readonly #context: WriteContext
  readonly #watermarks: Watermarks
  readonly #find: Statement<{ seq: number; recipients: string }>
  readonly #ownEntries: Statement<{ seq: number; note: number }>
  readonly #deleteStates: Statement
  readonly #deleteMarks: Statement
  readonly #deleteTickets: Statement

  constructor(context: WriteContext, watermarks: Watermarks) {
    const { db } = context
    this.#context = context
    this.#watermarks = watermarks
    this.#find = db.prepare(
      'SELECT seq, recipients FROM note WHERE id = ? AND (exp IS NULL OR exp > ?)'
    )
    this.#ownEntries = db.prepare('SELECT seq, note FROM entry WHERE channel = ? LIMIT ?')
    this.#deleteStates = db.prepare(
      'DELETE FROM state WHERE seq IN (SELECT seq FROM state WHERE channel = ? LIMIT ?)'
    )
    this.#deleteMarks = db.prepare(
      'DELETE FROM mark WHERE (user, channel, seq) IN (SELECT user, channel, seq FROM mark WHERE user = ? LIMIT ?)'
    )
    this.#deleteTickets = db.prepare(
      'DELETE FROM ticket WHERE hash IN (SELECT hash FROM ticket WHERE user = ? LIMIT ?)'
    )
  }

  recall({ id }: Commands['recall']): Results['recall'] {
    const context = this.#context
    const note = this.#find.get(id, context.now)
    if (!note) return { channels: [], first: 0 }
    const first = context.nextSeq()
    const channels = channelsOf(decodeRecipients(note.recipients)).filter((channel, k) => {
      if (!context.retract(channel, note.seq + k, note.seq)) return false
      context.appendState(channel, 'removed', [id], null)
      return true
    })
    return { channels, first }
  }

  /** Erases one slice of what a user has. */
  erase({ user }: Commands['erase']): Results['erase'] {
    const context = this.#context
    const channel = userChannel(user)
    const entries = this.#ownEntries.all(channel, RETENTION_SLICE)
    for (const { seq, note } of entries) context.removeEntry(channel, seq, note)
    // The log no longer knows what was there: an earlier cursor gets a fresh page instead. A client
    // at the last event has seen all of it, and that event may lie one seq before the head.
    context.raiseFloor(channel, context.head - 1)
    const last = context.nextSeq() - 1
    context.forget(channel)
    const deleted = [
      changes(this.#deleteStates, channel, RETENTION_SLICE),
      changes(this.#deleteMarks, user, RETENTION_SLICE),
      changes(this.#deleteTickets, user, RETENTION_SLICE),
      entries.length
    ]
    if (deleted.includes(RETENTION_SLICE)) {
      this.#watermarks.lower(user)
      return null
    }
    this.#watermarks.forget(user)
    return context.appendState(channel, 'removed', null, last)
  }
}
