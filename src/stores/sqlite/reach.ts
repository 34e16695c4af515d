import type { MarkOp } from '../../log/event.ts'
import type { Statement } from './driver.ts'
import { ARCHIVED, READ } from './flags.ts'
import type { Ledger } from './write-context.ts'

/**
 * How far a user has got in a channel, as places in `reach`: every live entry up to `done` is read or archived, every one
 * up to `seen` is seen, every one up to `archived` is archived. Whoever counts or lists looks only at what lies above. An entry
 * that leaves the channel makes none of it false, and a new one lies above all of it, so only marks change it. It may
 * be lower than it could be. Whoever has a mark in a channel has a row.
 */
const LEVELS = {
  done: `m.flags IS NULL OR m.flags & ${READ | ARCHIVED} = 0`,
  seen: 'm.flags IS NULL',
  archived: `m.flags IS NULL OR m.flags & ${ARCHIVED} = 0`
} as const

type Level = keyof typeof LEVELS

const NAMES: readonly Level[] = ['done', 'seen', 'archived']

/** Which levels an operation can raise, or, with `unread`, lower. */
const TOUCHED = {
  seen: ['seen'],
  read: ['done', 'seen'],
  unread: ['done'],
  archived: NAMES
} as const satisfies Record<MarkOp, readonly Level[]>

/** The place before the first entry above one for which a level does not hold; null if it holds for all. */
const firstBelow = (level: Level, user: string, channel: string, above: string): string =>
  `(SELECT e.seq - 1 FROM entry e LEFT JOIN mark m ON m.user = ${user} AND m.channel = e.channel AND m.seq = e.seq
    WHERE e.channel = ${channel} AND e.seq > ${above} AND (${LEVELS[level]}) ORDER BY e.seq LIMIT 1)`

/** Works out the rows of everybody from their marks, for a file that has marks and no rows yet. */
export const REACH_OF_ALL = `INSERT INTO reach SELECT u.user, u.channel, ${NAMES.map(
  (level) =>
    `coalesce(${firstBelow(level, 'u.user', 'u.channel', '0')}, (SELECT v FROM meta WHERE k = 'head'))`
).join(', ')} FROM (SELECT DISTINCT user, channel FROM mark) u`

/** Keeps `reach` in step with marks. */
export class Reach {
  readonly #ledger: Ledger
  readonly #get: Statement
  readonly #put: Statement
  readonly #first: Record<Level, Statement>
  readonly #lower: Statement
  readonly #forget: Statement

  constructor(ledger: Ledger) {
    const { db } = ledger
    this.#ledger = ledger
    this.#get = db.prepare('SELECT done, seen, archived FROM reach WHERE user = ? AND channel = ?')
    this.#put = db.prepare(
      'INSERT OR REPLACE INTO reach (user, channel, done, seen, archived) VALUES (?, ?, ?, ?, ?)'
    )
    const first = (level: Level): Statement =>
      db.prepare(`SELECT ${firstBelow(level, '?1', '?2', '?3')} AS place`)
    this.#first = { done: first('done'), seen: first('seen'), archived: first('archived') }
    this.#lower = db.prepare('UPDATE reach SET done = 0, seen = 0, archived = 0 WHERE user = ?')
    this.#forget = db.prepare('DELETE FROM reach WHERE user = ?')
  }

  /** After an operation changed marks of a user in a channel; `range` if it was for everything after one place and up to another. */
  marked(
    user: string,
    channel: string,
    op: MarkOp,
    range: { readonly after: number; readonly upTo: number } | null
  ): void {
    const row = this.#get.get(user, channel)
    const levels = {
      done: Number(row?.['done'] ?? 0),
      seen: Number(row?.['seen'] ?? 0),
      archived: Number(row?.['archived'] ?? 0)
    }
    for (const level of TOUCHED[op]) {
      const known = levels[level]
      // A range that does not join on to what is known says nothing about what lies between.
      const from =
        op === 'unread' ? 0 : range && range.after <= known ? Math.max(known, range.upTo) : known
      levels[level] = Number(
        this.#first[level].get(user, channel, from)?.['place'] ?? this.#ledger.head
      )
    }
    this.#put.run(user, channel, levels.done, levels.seen, levels.archived)
  }

  /** Before only some of a user's marks go. */
  lower(user: string): void {
    this.#lower.run(user)
  }

  /** When all of a user's marks are gone. */
  forget(user: string): void {
    this.#forget.run(user)
  }
}
