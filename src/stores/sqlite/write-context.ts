import type { StateOp } from '../../log/event.ts'
import type { Database } from './driver.ts'

/** Channels whose sizes are remembered; beyond it all are forgotten and counted again when they are next written to. */
const MAX_COUNTED = 100_000

/**
 * What all commands of the writer share: the head of the log, the moment, how full channels are, and how an entry is removed.
 * Values that mirror the database are put back by {@link Ledger.rollback}.
 */
export class Ledger {
  readonly db: Database
  floor: number
  /** The moment of the running transaction; one for all its commands. */
  now = 0
  /** No entry expires before this. */
  nextExpiry: number
  /** Channels that retention has to look at. */
  readonly over = new Set<string>()
  /** Channels that lost entries in this transaction without an event. */
  readonly dropped = new Set<string>()
  /** Entries, and state events, that a channel may have before it is pruned. */
  readonly most: number
  readonly #statements: ReturnType<typeof prepare>
  #head: number
  /** Where the first place of this life comes after; null once it was taken, and in a new log. */
  #leap: number | null
  #savedLeap: number | null
  #savedHead: number
  #savedFloor: number
  /** Bounded by {@link MAX_COUNTED}, as is the next; names have 128 characters at most. */
  readonly #entries = new Map<string, number>()
  readonly #states = new Map<string, number>()
  /** How the sizes of shared channels change with this transaction. */
  readonly #sizes = new Map<string, number>()

  constructor(db: Database, keep: number, leap: number | null) {
    this.db = db
    this.#head = this.#savedHead = this.#meta('head')
    this.#leap = this.#savedLeap = leap
    this.floor = this.#savedFloor = this.#meta('floor')
    this.nextExpiry = this.firstExpiry()
    this.most = keep === 0 ? Number.POSITIVE_INFINITY : Math.floor(keep * 1.5)
    this.#statements = prepare(db)
  }

  /** Place of the newest event. */
  get head(): number {
    return this.#head
  }

  /** The place that is given next, by {@link take}. The first of a life leaps, and fences what it leaps over. */
  get next(): number {
    if (this.#leap !== null) {
      this.#statements.putFence.run(this.#head, this.#leap)
      this.#head = this.#leap
      this.#leap = null
    }
    return this.#head + 1
  }

  /** Gives a place. */
  take(): number {
    this.#head = this.next
    return this.#head
  }

  /**
   * Removes an entry before its time, as {@link removeEntry}. If it had taken the place of another, who was away meanwhile may still
   * show that one: what is left of the entry in the log tells them that it is gone.
   */
  takeBack(channel: string, seq: number, note: number): boolean {
    if (Number(this.#statements.leaveTrace.run(channel, seq).changes) > 0)
      this.#grown(this.#states, channel, 1)
    return this.removeEntry(channel, seq, note)
  }

  /** Removes one entry, its user's mark where only one user has it, and its content with the last of its entries. */
  removeEntry(channel: string, seq: number, note: number): boolean {
    const s = this.#statements
    if (s.deleteEntry.run(channel, seq).changes === 0) return false
    this.#resized(channel, -1)
    if (channel.startsWith('user:')) s.deleteMark.run(channel.slice(5), channel, seq)
    if (s.deleteLast.run(note).changes === 0) s.leave.run(note)
    return true
  }

  /** Appends a state event and returns its place. */
  appendState(channel: string, op: StateOp, ids: string | null, upTo: number | null): number {
    const seq = this.take()
    this.#statements.insertState.run(seq, channel, op, ids, upTo, this.now)
    this.#grown(this.#states, channel, 1)
    this.#leaveRoom(channel)
    return seq
  }

  /** Tells that a channel has one entry more, in the newest place. */
  entryAdded(channel: string): void {
    this.#resized(channel, 1)
    this.#grown(this.#entries, channel, 1)
    this.#leaveRoom(channel)
  }

  /** The place behind an event of a shared channel is no event's. */
  #leaveRoom(channel: string): void {
    if (!channel.startsWith('user:')) this.take()
  }

  /** Forgets how full a channel is; it is counted when it is next written to. */
  forget(channel: string): void {
    this.#entries.delete(channel)
    this.#states.delete(channel)
  }

  raiseFloor(channel: string, seq: number): void {
    this.#statements.raiseFloor.run(channel, seq)
  }

  firstExpiry(): number {
    return Number(
      this.db.prepare('SELECT min(exp) AS exp FROM note WHERE exp IS NOT NULL').get()?.['exp'] ??
        Number.POSITIVE_INFINITY
    )
  }

  /** Writes what changed of the head, the floor, the sizes, and where entries were dropped; the last thing before a commit. */
  save(): void {
    for (const [channel, by] of this.#sizes) if (by !== 0) this.#statements.resize.run(channel, by)
    this.#sizes.clear()
    if (this.dropped.size > 0) {
      const place = this.take()
      for (const channel of this.dropped) this.#statements.noteDropped.run(channel, place)
    }
    if (this.#head !== this.#savedHead) this.#statements.setMeta.run('head', this.#head)
    if (this.floor !== this.#savedFloor) this.#statements.setMeta.run('floor', this.floor)
  }

  committed(): void {
    this.#savedHead = this.#head
    this.#savedLeap = this.#leap
    this.#savedFloor = this.floor
  }

  rollback(): void {
    this.#head = this.#savedHead
    this.#leap = this.#savedLeap
    this.floor = this.#savedFloor
    this.#entries.clear()
    this.#states.clear()
    this.#sizes.clear()
    this.dropped.clear()
  }

  /** Notes how the number of entries changed in a channel that many may count. A user's own is counted when it is read. */
  #resized(channel: string, by: number): void {
    if (!channel.startsWith('user:')) this.#sizes.set(channel, (this.#sizes.get(channel) ?? 0) + by)
  }

  #grown(sizes: Map<string, number>, channel: string, by: number): void {
    if (this.most === Number.POSITIVE_INFINITY) return
    const known = sizes.get(channel)
    let size: number
    if (known !== undefined) size = known + by
    else {
      if (sizes.size >= MAX_COUNTED) sizes.clear()
      const count =
        sizes === this.#entries ? this.#statements.countEntries : this.#statements.countStates
      size = Number(count.get(channel)?.['n'])
    }
    sizes.set(channel, size)
    if (size > this.most) this.over.add(channel)
  }

  #meta(key: string): number {
    return Number(this.db.prepare('SELECT v FROM meta WHERE k = ?').get(key)?.['v'])
  }
}

function prepare(db: Database) {
  return {
    putFence: db.prepare('INSERT INTO fence VALUES (?, ?)'),
    setMeta: db.prepare('UPDATE meta SET v = ?2 WHERE k = ?1'),
    countEntries: db.prepare('SELECT count(*) AS n FROM entry WHERE channel = ?'),
    countStates: db.prepare('SELECT count(*) AS n FROM state WHERE channel = ?'),
    deleteEntry: db.prepare('DELETE FROM entry WHERE channel = ? AND seq = ?'),
    deleteLast: db.prepare('DELETE FROM note WHERE seq = ? AND left_over = 1'),
    leave: db.prepare('UPDATE note SET left_over = left_over - 1 WHERE seq = ?'),
    deleteMark: db.prepare('DELETE FROM mark WHERE user = ? AND channel = ? AND seq = ?'),
    leaveTrace: db.prepare(
      `INSERT INTO state (seq, channel, op, ids, up_to, at, since)
       SELECT e.seq, e.channel, 'removed', json_array(e.replaces), NULL, n.at, e.replaced
       FROM entry e JOIN note n ON n.seq = e.note WHERE e.channel = ? AND e.seq = ? AND e.replaces IS NOT NULL`
    ),
    insertState: db.prepare(
      'INSERT INTO state (seq, channel, op, ids, up_to, at) VALUES (?, ?, ?, ?, ?, ?)'
    ),
    noteDropped: db.prepare(
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
