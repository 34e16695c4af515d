import type { Channel } from '../../log/channel.ts'
import type { MarkOp } from '../../log/event.ts'
import type { Statement } from './driver.ts'
import { ARCHIVED, READ } from './mark-flags.ts'
import type { WriteContext } from './write-context.ts'

/**
 * What must hold for every live entry up to a watermark: `done`, it is read or archived; `seen`, it
 * is seen; `archived`, it is archived. Counts and lists read only the entries above it. A watermark
 * stays true when an entry is removed, and new entries are above it, so only marks move it. It may
 * be lower than possible. The table `reach` holds the watermarks: one row for each user and channel
 * with a mark. Released files already use that name.
 */
const LEVELS = {
  done: `m.flags IS NULL OR m.flags & ${READ | ARCHIVED} = 0`,
  seen: 'm.flags IS NULL',
  archived: `m.flags IS NULL OR m.flags & ${ARCHIVED} = 0`
} as const

type Level = keyof typeof LEVELS

/** A row of `reach`: the watermarks of a user in a channel. */
export type WatermarkRow = Readonly<Record<Level, number>>

/** Reads the watermarks of a user in a channel. */
export const FIND_WATERMARKS =
  'SELECT done, seen, archived FROM reach WHERE user = ? AND channel = ?'

const NAMES: readonly Level[] = ['done', 'seen', 'archived']

/** The watermarks an operation can raise or, for `unread`, lower. */
const TOUCHED: Readonly<Record<MarkOp, readonly Level[]>> = {
  seen: ['seen'],
  read: ['done', 'seen'],
  unread: ['done'],
  archived: NAMES
}

/**
 * The seq before the first entry above another for which a level does not hold; null if it holds
 * for all.
 */
const firstBelow = (level: Level, user: string, channel: string, above: string): string =>
  `(SELECT e.seq - 1 FROM entry e LEFT JOIN mark m ON m.user = ${user} AND m.channel = e.channel AND m.seq = e.seq
    WHERE e.channel = ${channel} AND e.seq > ${above} AND (${LEVELS[level]}) ORDER BY e.seq LIMIT 1)`

/** Computes all rows from the marks, for a file that has marks but no rows yet. */
export const WATERMARKS_OF_ALL = `INSERT INTO reach SELECT u.user, u.channel, ${NAMES.map(
  (level) =>
    `coalesce(${firstBelow(level, 'u.user', 'u.channel', '0')}, (SELECT v FROM meta WHERE k = 'head'))`
).join(', ')} FROM (SELECT DISTINCT user, channel FROM mark) u`

/** Keeps the watermarks in step with the marks. */
export class Watermarks {
  readonly #context: WriteContext
  readonly #get: Statement<WatermarkRow>
  readonly #put: Statement
  readonly #first: Readonly<Record<Level, Statement<{ seq: number | null }>>>
  readonly #lower: Statement
  readonly #forget: Statement

  constructor(context: WriteContext) {
    const { db } = context
    this.#context = context
    this.#get = db.prepare(FIND_WATERMARKS)
    this.#put = db.prepare(
      'INSERT OR REPLACE INTO reach (user, channel, done, seen, archived) VALUES (?, ?, ?, ?, ?)'
    )
    const first = (level: Level) =>
      db.prepare<{ seq: number | null }>(`SELECT ${firstBelow(level, '?1', '?2', '?3')} AS seq`)
    this.#first = { done: first('done'), seen: first('seen'), archived: first('archived') }
    this.#lower = db.prepare('UPDATE reach SET done = 0, seen = 0, archived = 0 WHERE user = ?')
    this.#forget = db.prepare('DELETE FROM reach WHERE user = ?')
  }

  /**
   * To be called after a mark. `range`: the mark was for everything above one seq and up to
   * another.
   */
  marked(
    user: string,
    channel: Channel,
    op: MarkOp,
    range: { readonly after: number; readonly upTo: number } | null
  ): void {
    const levels = { done: 0, seen: 0, archived: 0, ...this.#get.get(user, channel) }
    for (const level of TOUCHED[op]) {
      const known = levels[level]
      // A range that starts above the watermark says nothing about the entries between.
      const from =
        op === 'unread' ? 0 : range && range.after <= known ? Math.max(known, range.upTo) : known
      levels[level] = this.#first[level].get(user, channel, from)?.seq ?? this.#context.head
    }
    this.#put.run(user, channel, levels.done, levels.seen, levels.archived)
  }

  /** To be called before some of a user's marks are deleted. */
  lower(user: string): void {
    this.#lower.run(user)
  }

  /** To be called when all of a user's marks are gone. */
  forget(user: string): void {
    this.#forget.run(user)
  }
}
