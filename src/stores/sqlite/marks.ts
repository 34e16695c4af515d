import { TRANSACTION_LIMIT } from '../../bounds/limits.ts'
import type { MarkOp } from '../../log/event.ts'
import type { MarkProgress } from './commands.ts'
import type { Statement } from './driver.ts'
import { ARCHIVED, READ, SEEN } from './flags.ts'
import type { Reach } from './reach.ts'
import type { Ledger } from './write-context.ts'

/** Live entries of a channel between two places. */
const RANGE = 'channel = ?2 AND seq BETWEEN ?3 AND ?4 AND (exp IS NULL OR exp > ?5)'

/** Sets the marks of users. */
export class Marker {
  readonly #ledger: Ledger
  readonly #reach: Reach
  readonly #apply: Record<MarkOp, Statement>
  readonly #part: Statement

  constructor(ledger: Ledger, reach: Reach) {
    this.#ledger = ledger
    this.#reach = reach
    const { db } = ledger
    this.#part = db.prepare(
      `SELECT count(*) AS n, max(seq) AS last FROM
         (SELECT seq FROM entry WHERE channel = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?)`
    )
    const select = (flags: number, readAt: string): string =>
      `INSERT INTO mark SELECT ?1, channel, seq, ${flags}, ${readAt} FROM entry WHERE ${RANGE} ON CONFLICT`
    this.#apply = {
      seen: db.prepare(`${select(SEEN, 'NULL')} DO NOTHING`),
      read: db.prepare(
        `${select(READ | SEEN, '?5')} DO UPDATE SET flags = flags | ${READ}, read_at = excluded.read_at WHERE flags & ${READ} = 0`
      ),
      archived: db.prepare(
        `${select(ARCHIVED | SEEN, 'NULL')} DO UPDATE SET flags = flags | ${ARCHIVED} WHERE flags & ${ARCHIVED} = 0`
      ),
      unread: db.prepare(
        `UPDATE mark SET flags = flags & ~${READ}, read_at = NULL WHERE user = ?1 AND channel = ?2 AND seq BETWEEN ?3 AND ?4
         AND flags & ${READ | ARCHIVED} = ${READ}
         AND EXISTS (SELECT 1 FROM entry e WHERE e.channel = mark.channel AND e.seq = mark.seq AND (e.exp IS NULL OR e.exp > ?5))`
      )
    }
  }

  /**
   * Marks up to a place in the channels, or, if `upTo` is null, the entries named by channel, place and id. Pushes how many changed, the
   * place of the event or the head, the ids that changed, and, if there was more than one transaction takes, where to go on: then
   * there is no event yet.
   */
  mark(
    user: string,
    op: MarkOp,
    upTo: number | null,
    channels: readonly string[],
    places: readonly [seqs: readonly number[], ids: readonly string[]],
    progress: MarkProgress,
    results: unknown[]
  ): void {
    if (upTo !== null) return this.#upTo(user, op, upTo, channels, progress, results)
    const statement = this.#apply[op]
    const [seqs, ids] = places
    const touched = new Set<string>()
    const changed = ids.filter((_, i) => {
      const channel = channels[i]!
      if (Number(statement.run(user, channel, seqs[i]!, seqs[i]!, this.#ledger.now).changes) === 0)
        return false
      touched.add(channel)
      return true
    })
    for (const channel of touched) this.#reach.marked(user, channel, op, null)
    const seq = this.#append(user, op, changed.length, JSON.stringify(changed), null)
    results.push(changed.length, seq, changed, null)
  }

  #upTo(
    user: string,
    op: MarkOp,
    upTo: number,
    channels: readonly string[],
    [from, start, before]: MarkProgress,
    results: unknown[]
  ): void {
    const ledger = this.#ledger
    let room = TRANSACTION_LIMIT.entries
    let affected = before
    let after = start
    for (let k = from; k < channels.length; k++) {
      const channel = channels[k]!
      const { n, last } = this.#part.get(channel, after, upTo, room)!
      const whole = Number(n) < room
      const end = whole ? upTo : Number(last)
      const changes = Number(this.#apply[op].run(user, channel, after + 1, end, ledger.now).changes)
      if (changes > 0) this.#reach.marked(user, channel, op, { after, upTo: end })
      affected += changes
      room -= Number(n)
      after = whole ? 0 : end
      if (!whole)
        return void results.push(affected, 0, null, [k, end, affected] satisfies MarkProgress)
    }
    results.push(affected, this.#append(user, op, affected, null, upTo), null, null)
  }

  /** One event if anything changed; its place, or the head. */
  #append(
    user: string,
    op: MarkOp,
    affected: number,
    ids: string | null,
    upTo: number | null
  ): number {
    return affected > 0
      ? this.#ledger.appendState(`user:${user}`, op, ids, upTo)
      : this.#ledger.head
  }
}
