import { RETENTION_SLICE } from '../../bounds/limits.ts'
import { channelsOf, userChannel } from '../../log/channel.ts'
import type { Commands, Recalled, Results } from './commands.ts'
import { changes, type Statement } from './driver.ts'
import { decodeRecipients } from './recipients.ts'
import type { Watermarks } from './watermarks.ts'
import type { WriteContext } from './write-context.ts'

const NOTHING: Recalled = { id: '', channels: [], first: 0 }

/** Recalls notifications and erases users. */
export class Removal {
  readonly #context: WriteContext
  readonly #watermarks: Watermarks
  readonly #find: Statement<{ seq: number; recipients: string }>
  readonly #findKey: Statement<{ id: string; seq: number; note: number }>
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
    this.#findKey = db.prepare(
      'SELECT n.id, e.seq, e.note FROM entry e JOIN note n ON n.seq = e.note WHERE e.channel = ? AND e.key = ? AND (e.exp IS NULL OR e.exp > ?)'
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

  recall({ id }: Commands['recall']): Recalled {
    const context = this.#context
    const note = this.#find.get(id, context.now)
    if (!note) return NOTHING
    const first = context.nextSeq()
    const channels = channelsOf(decodeRecipients(note.recipients)).filter((channel, k) => {
      if (!context.retract(channel, note.seq + k, note.seq)) return false
      context.appendState(channel, 'removed', [id], null)
      return true
    })
    return { id, channels, first }
  }

  recallKey({ channel, key }: Commands['recallKey']): Recalled {
    const context = this.#context
    const found = this.#findKey.get(channel, key, context.now)
    if (!found) return NOTHING
    const { id, seq, note } = found
    context.retract(channel, seq, note)
    return { id, channels: [channel], first: context.appendState(channel, 'removed', [id], null) }
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
