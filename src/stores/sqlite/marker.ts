import type { MarkOp } from '../../core/event.ts'
import type { Statement } from './driver.ts'
import { ARCHIVED, READ, SEEN } from './flags.ts'
import type { Ledger } from './ledger.ts'
import type { Reach } from './reach.ts'

/** Live entries of a channel between two places. */
const RANGE = 'channel = ?2 AND seq BETWEEN ?3 AND ?4 AND (exp IS NULL OR exp > ?5)'

/** Sets the marks of users. */
export class Marker {
  readonly #ledger: Ledger
  readonly #reach: Reach
  readonly #apply: Record<MarkOp, Statement>

  constructor(ledger: Ledger, reach: Reach) {
    this.#ledger = ledger
    this.#reach = reach
    const { db } = ledger
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
   * Marks up to a place in the channels, or, where `upTo` is null, the entries named by channel, place and id.
   * Pushes how many changed, the place of the event or the head, and the ids that changed.
   */
  mark(
    user: string,
    op: MarkOp,
    upTo: number | null,
    channels: string[],
    places: [seqs: number[], ids: string[]],
    results: unknown[]
  ): void {
    const ledger = this.#ledger
    const statement = this.#apply[op]
    let affected = 0
    let changed: string[] | null = null
    if (upTo !== null) {
      for (const channel of channels) {
        const n = Number(statement.run(user, channel, 0, upTo, ledger.now).changes)
        if (n > 0) this.#reach.marked(user, channel, op, upTo)
        affected += n
      }
    } else {
      const [seqs, ids] = places
      const touched = new Set<string>()
      changed = ids.filter((_, i) => {
        const channel = channels[i]!
        if (Number(statement.run(user, channel, seqs[i]!, seqs[i]!, ledger.now).changes) === 0) return false
        touched.add(channel)
        return true
      })
      for (const channel of touched) this.#reach.marked(user, channel, op, null)
      affected = changed.length
    }
    const seq = affected > 0 ? ledger.appendState(`user:${user}`, op, changed && JSON.stringify(changed), upTo) : ledger.head
    results.push(affected, seq, changed)
  }
}
