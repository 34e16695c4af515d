import { TRANSACTION_LIMIT } from '../../bounds/limits.ts'
import { type Channel, userChannel } from '../../log/channel.ts'
import type { MarkOp } from '../../log/event.ts'
import type { Commands, Results } from './commands.ts'
import { changes, type Database, type Statement } from './driver.ts'
import { ARCHIVED, READ, SEEN } from './mark-flags.ts'
import type { Watermarks } from './watermarks.ts'
import type { WriteContext } from './write-context.ts'

/** Sets the marks of users. */
export class MarkTable {
  readonly #context: WriteContext
  readonly #watermarks: Watermarks
  readonly #apply: Record<MarkOp, Statement>
  readonly #nextSlice: Statement<{ n: number; last: number | null }>

  constructor(context: WriteContext, watermarks: Watermarks) {
    this.#context = context
    this.#watermarks = watermarks
    this.#nextSlice = context.db.prepare(
      `SELECT count(*) AS n, max(seq) AS last FROM
         (SELECT seq FROM entry WHERE channel = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?)`
    )
    this.#apply = statements(context.db)
  }

  /** Marks the entries that are named. */
  mark({ user, op, entries }: Commands['mark']): Results['mark'] {
    const touched = new Set<Channel>()
    const changed = entries.filter(({ channel, seq }) => {
      if (changes(this.#apply[op], user, channel, seq, seq, this.#context.now) === 0) return false
      touched.add(channel)
      return true
    })
    for (const channel of touched) this.#watermarks.marked(user, channel, op, null)
    const ids = changed.map(({ id }) => id)
    return { ids, seq: this.#append(user, op, ids.length, ids, null) }
  }

  /** Marks all entries of the scope up to a seq, or as many as one transaction takes. */
  markUpTo({ user, op, upTo, scope, progress }: Commands['markUpTo']): Results['markUpTo'] {
    let room: number = TRANSACTION_LIMIT.entries
    let { affected, after } = progress
    for (const [index, channel] of scope.entries()) {
      if (index < progress.channel) continue
      const { n = 0, last } = this.#nextSlice.get(channel, after, upTo, room) ?? {}
      const whole = n < room
      const end = whole ? upTo : (last ?? after)
      const { now } = this.#context
      const changed = changes(this.#apply[op], user, channel, after + 1, end, now)
      if (changed > 0) this.#watermarks.marked(user, channel, op, { after, upTo: end })
      affected += changed
      if (!whole) return { affected, seq: 0, next: { channel: index, after: end, affected } }
      room -= n
      after = 0
    }
    const seq = this.#append(user, op, affected, null, upTo)
    return { affected, seq, next: null }
  }

  /** Appends one event if anything changed. Returns its seq, or the head. */
  #append(
    user: string,
    op: MarkOp,
    affected: number,
    ids: readonly string[] | null,
    upTo: number | null
  ): number {
    return affected > 0
      ? this.#context.appendState(userChannel(user), op, ids, upTo)
      : this.#context.head
  }
}

/** Live entries of a channel between two seqs. */
const RANGE = 'channel = ?2 AND seq BETWEEN ?3 AND ?4 AND (exp IS NULL OR exp > ?5)'

function statements(db: Database): Record<MarkOp, Statement> {
  const insert = (flags: number, readAt: string): string =>
    `INSERT INTO mark SELECT ?1, channel, seq, ${flags}, ${readAt} FROM entry WHERE ${RANGE} ON CONFLICT`
  return {
    seen: db.prepare(`${insert(SEEN, 'NULL')} DO NOTHING`),
    read: db.prepare(
      `${insert(READ | SEEN, '?5')} DO UPDATE SET flags = flags | ${READ}, read_at = excluded.read_at WHERE flags & ${READ} = 0`
    ),
    archived: db.prepare(
      `${insert(ARCHIVED | SEEN, 'NULL')} DO UPDATE SET flags = flags | ${ARCHIVED} WHERE flags & ${ARCHIVED} = 0`
    ),
    unread: db.prepare(
      `UPDATE mark SET flags = flags & ~${READ}, read_at = NULL WHERE user = ?1 AND channel = ?2 AND seq BETWEEN ?3 AND ?4
         AND flags & ${READ | ARCHIVED} = ${READ}
         AND EXISTS (SELECT 1 FROM entry e WHERE e.channel = mark.channel AND e.seq = mark.seq AND (e.exp IS NULL OR e.exp > ?5))`
    )
  }
}
