import { type Channel, isPersonal, userOf } from '../../log/channel.ts'
import type { StateOp } from '../../log/event.ts'
import { changes, type Database, type Statement } from './driver.ts'
import { readMeta } from './meta.ts'

/**
 * Channels whose sizes are cached. Above it the cache is cleared, and each is counted again at its
 * next write.
 */
const MAX_COUNTED = 100_000

/**
 * What all commands of the writer share: the head of the log, the time of the transaction, the
 * sizes of channels, and how an entry is removed. {@link WriteContext.rollback} restores the values
 * that mirror the database.
 */
export class WriteContext {
  readonly db: Database
  /** No client can resume below this seq. */
  floor: number
  /** Time of the running transaction, the same for all its commands. */
  now = 0
  /** No entry expires before this time. */
  nextExpiry: number
  /** Channels that retention has to prune. */
  readonly over = new Set<Channel>()
  /** Channels that lost entries in this transaction without an event. */
  readonly dropped = new Set<Channel>()
  /** A channel is pruned when it has more entries, or more state events, than this. */
  readonly most: number
  readonly #statements: ReturnType<typeof prepare>
  #head: number
  /** The first event of this process comes after this seq; null afterwards, and in a new log. */
  #leap: number | null
  #savedLeap: number | null
  #savedHead: number
  #savedFloor: number
  /** Both are bounded by {@link MAX_COUNTED}; names have at most 128 characters. */
  readonly #entries = new Map<Channel, number>()
  readonly #states = new Map<Channel, number>()
  /** By how much the sizes of shared channels change in this transaction. */
  readonly #sizes = new Map<Channel, number>()

  constructor(db: Database, keep: number, leap: number | null) {
    this.db = db
    this.#head = this.#savedHead = readMeta(db, 'head')
    this.#leap = this.#savedLeap = leap
    this.floor = this.#savedFloor = readMeta(db, 'floor')
    this.nextExpiry = this.firstExpiry()
    this.most = keep === 0 ? Number.POSITIVE_INFINITY : Math.floor(keep * 1.5)
    this.#statements = prepare(db)
  }

  /** Seq of the newest event. */
  get head(): number {
    return this.#head
  }

  /**
   * The seq that {@link takeSeq} will return. The first one after a start leaps, and fences off the
   * seqs it skips.
   */
  nextSeq(): number {
    if (this.#leap !== null) {
      this.#statements.putFence.run(this.#head, this.#leap)
      this.#head = this.#leap
      this.#leap = null
    }
    return this.#head + 1
  }

  /** Takes the next seq. */
  takeSeq(): number {
    this.#head = this.nextSeq()
    return this.#head
  }

  /**
   * Removes an entry that was recalled, expired or collapsed. If it replaced an earlier one, a
   * client that was offline may still show that one: a state event in its place in the log tells
   * the client that it is gone.
   */
  retract(channel: Channel, seq: number, note: number): boolean {
    if (changes(this.#statements.leaveRemoved, channel, seq) > 0)
      this.#grown(this.#states, channel, this.#statements.countStates)
    return this.removeEntry(channel, seq, note)
  }

  /**
   * Removes one entry, the mark of its user in a personal channel, and the content with its last
   * entry. False if there is none.
   */
  removeEntry(channel: Channel, seq: number, note: number): boolean {
    const s = this.#statements
    if (changes(s.deleteEntry, channel, seq) === 0) return false
    this.#resized(channel, -1)
    const user = userOf(channel)
    if (user !== undefined) s.deleteMark.run(user, channel, seq)
    if (changes(s.deleteLast, note) === 0) s.decrementEntriesLeft.run(note)
    return true
  }

  /** Appends a state event and returns its seq. */
  appendState(
    channel: Channel,
    op: StateOp,
    ids: readonly string[] | null,
    upTo: number | null
  ): number {
    const seq = this.takeSeq()
    const list = ids === null ? null : JSON.stringify(ids)
    this.#statements.insertState.run(seq, channel, op, list, upTo, this.now)
    this.#grown(this.#states, channel, this.#statements.countStates)
    this.#skipSeq(channel)
    return seq
  }

  /** To be called after a channel got an entry at the newest seq. */
  entryAdded(channel: Channel): void {
    this.#resized(channel, 1)
    this.#grown(this.#entries, channel, this.#statements.countEntries)
    this.#skipSeq(channel)
  }

  /** The seq after an event of a shared channel stays unused; see `Store`. */
  #skipSeq(channel: Channel): void {
    if (!isPersonal(channel)) this.takeSeq()
  }

  /** Forgets the size of a channel. It is counted again at its next write. */
  forget(channel: Channel): void {
    this.#entries.delete(channel)
    this.#states.delete(channel)
  }

  /** Raises the seq below which no client can resume in a channel. */
  raiseFloor(channel: Channel, seq: number): void {
    this.#statements.raiseFloor.run(channel, seq)
  }

  /** When the next entry expires; infinity if none does. */
  firstExpiry(): number {
    const first = this.db.prepare<{ exp: number | null }>(
      'SELECT min(exp) AS exp FROM note WHERE exp IS NOT NULL'
    )
    return first.get()?.exp ?? Number.POSITIVE_INFINITY
  }

  /**
   * Writes the head, the floor, the sizes and the dropped channels if they changed. The last step
   * before a commit.
   */
  save(): void {
    for (const [channel, by] of this.#sizes) if (by !== 0) this.#statements.resize.run(channel, by)
    this.#sizes.clear()
    if (this.dropped.size > 0) {
      const seq = this.takeSeq()
      for (const channel of this.dropped) this.#statements.recordDropped.run(channel, seq)
    }
    if (this.#head !== this.#savedHead) this.#statements.setMeta.run('head', this.#head)
    if (this.floor !== this.#savedFloor) this.#statements.setMeta.run('floor', this.floor)
  }

  /** Keeps the values of the transaction, after its commit. */
  committed(): void {
    this.#savedHead = this.#head
    this.#savedLeap = this.#leap
    this.#savedFloor = this.floor
  }

  /** Restores the values from before the transaction. */
  rollback(): void {
    this.#head = this.#savedHead
    this.#leap = this.#savedLeap
    this.floor = this.#savedFloor
    this.#entries.clear()
    this.#states.clear()
    this.#sizes.clear()
    this.dropped.clear()
  }

  /**
   * Tracks the size of a shared channel, because many subscribers count it. A personal one is
   * counted when it is read.
   */
  #resized(channel: Channel, by: number): void {
    if (!isPersonal(channel)) this.#sizes.set(channel, (this.#sizes.get(channel) ?? 0) + by)
  }

  /** To be called after a channel got one more of what `sizes` counts. */
  #grown(sizes: Map<Channel, number>, channel: Channel, count: Statement<{ n: number }>): void {
    if (this.most === Number.POSITIVE_INFINITY) return
    const known = sizes.get(channel)
    if (known === undefined && sizes.size >= MAX_COUNTED) sizes.clear()
    const size = known === undefined ? (count.get(channel)?.n ?? 0) : known + 1
    sizes.set(channel, size)
    if (size > this.most) this.over.add(channel)
  }
}

function prepare(db: Database) {
  return {
    putFence: db.prepare('INSERT INTO fence VALUES (?, ?)'),
    setMeta: db.prepare('UPDATE meta SET v = ?2 WHERE k = ?1'),
    countEntries: db.prepare<{ n: number }>('SELECT count(*) AS n FROM entry WHERE channel = ?'),
    countStates: db.prepare<{ n: number }>('SELECT count(*) AS n FROM state WHERE channel = ?'),
    deleteEntry: db.prepare('DELETE FROM entry WHERE channel = ? AND seq = ?'),
    deleteLast: db.prepare('DELETE FROM note WHERE seq = ? AND left_over = 1'),
    decrementEntriesLeft: db.prepare('UPDATE note SET left_over = left_over - 1 WHERE seq = ?'),
    deleteMark: db.prepare('DELETE FROM mark WHERE user = ? AND channel = ? AND seq = ?'),
    leaveRemoved: db.prepare(
      `INSERT INTO state (seq, channel, op, ids, up_to, at, since)
       SELECT e.seq, e.channel, 'removed', json_array(e.replaces), NULL, n.at, e.replaced
       FROM entry e JOIN note n ON n.seq = e.note WHERE e.channel = ? AND e.seq = ? AND e.replaces IS NOT NULL`
    ),
    insertState: db.prepare(
      'INSERT INTO state (seq, channel, op, ids, up_to, at) VALUES (?, ?, ?, ?, ?, ?)'
    ),
    recordDropped: db.prepare(
      'INSERT INTO floor (channel, seq, dropped) VALUES (?, 0, ?) ON CONFLICT DO UPDATE SET dropped = excluded.dropped'
    ),
    resize: db.prepare(
      'INSERT INTO size (channel, n) VALUES (?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n'
    ),
    raiseFloor: db.prepare(
      'INSERT INTO floor (channel, seq) VALUES (?, ?) ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)'
    )
  }
}
