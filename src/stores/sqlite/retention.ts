import { RETENTION_SLICE } from '../../bounds/limits.ts'
import type { Row, Statement } from './driver.ts'
import type { Ledger } from './write-context.ts'

const DAY_MS = 24 * 60 * 60 * 1000
/** Index rows that one slice counts: about a millisecond. */
const COUNTED_ROWS = 5000

/** Removes what expired, what is too old, and what is too much, in slices that leave room for publishing between them. */
export class Retention {
  readonly #ledger: Ledger
  readonly #keep: number
  readonly #days: number
  /** Jobs of the hourly round that have more to do. */
  readonly #round = new Set<() => boolean>()
  #markAt: [user: string, channel: string, seq: number] = ['', '', 0]
  #reachAt: [user: string, channel: string] = ['', '']
  #floorAt = ''
  #entriesAt = ''
  #statesAt = ''
  readonly #s: ReturnType<typeof statements>

  constructor(ledger: Ledger, options: { readonly days: number; readonly perChannel: number }) {
    this.#ledger = ledger
    this.#keep = options.perChannel
    this.#days = options.days
    this.#s = statements(ledger)
  }

  /** Starts a round over everything. */
  startRound(): void {
    this.#markAt = ['', '', 0]
    this.#reachAt = ['', '']
    this.#floorAt = ''
    this.#entriesAt = this.#statesAt = ''
    const jobs = [
      this.#age,
      this.#ageStates,
      this.#countEntries,
      this.#countStates,
      this.#forgetKeys,
      this.#forgetTickets,
      this.#sweepMarks,
      this.#sweepReach,
      this.#sweepSizes,
      this.#sweepFloors
    ]
    for (const job of jobs) this.#round.add(job)
  }

  /** True while {@link slice} has something to do. */
  get busy(): boolean {
    return this.#round.size > 0 || this.#ledger.over.size > 0
  }

  /** Removes what expired, about a slice of it. */
  expire(): void {
    const ledger = this.#ledger
    let room = RETENTION_SLICE
    const due = this.#s.due.all(ledger.now, RETENTION_SLICE)
    for (const note of due) {
      room -= this.#removeNote(note, (channel, seq, first) => ledger.takeBack(channel, seq, first))
      if (room <= 0) break
    }
    ledger.nextExpiry = ledger.firstExpiry()
  }

  /** One slice of what is waiting. */
  slice(): void {
    for (const channel of this.#ledger.over) {
      if (this.#prune(channel)) this.#ledger.over.delete(channel)
      return
    }
    for (const job of this.#round) {
      if (job()) this.#round.delete(job)
      return
    }
  }

  #prune(channel: string): boolean {
    const ledger = this.#ledger
    const s = this.#s
    const oldestKept = s.oldestKept.get(channel, ledger.now, this.#keep - 1)
    const entries = oldestKept
      ? s.entriesBefore.all(channel, oldestKept['seq']!, RETENTION_SLICE)
      : []
    for (const entry of entries)
      ledger.removeEntry(channel, Number(entry['seq']), Number(entry['note']))
    const oldestState = s.oldestKeptState.get(channel, this.#keep - 1)
    const states = oldestState
      ? s.statesBefore.all(channel, oldestState['seq']!, RETENTION_SLICE)
      : []
    for (const state of states) s.deleteState.run(state['seq']!)
    const last = Math.max(Number(entries.at(-1)?.['seq'] ?? 0), Number(states.at(-1)?.['seq'] ?? 0))
    if (last > 0) ledger.raiseFloor(channel, last)
    if (entries.length > 0) ledger.dropped.add(channel)
    ledger.forget(channel)
    return entries.length < RETENTION_SLICE && states.length < RETENTION_SLICE
  }

  #age = (): boolean => {
    if (this.#days === 0) return true
    const ledger = this.#ledger
    const before = ledger.now - this.#days * DAY_MS
    let room = RETENTION_SLICE
    for (const note of this.#s.oldest.all(RETENTION_SLICE)) {
      if (Number(note['at']) >= before) return true
      const places = this.#removeNote(note, (channel, seq, first) =>
        ledger.removeEntry(channel, seq, first)
      )
      room -= places
      ledger.floor = Math.max(ledger.floor, Number(note['seq']) + places - 1)
      if (room <= 0) return false
    }
    return true
  }

  #ageStates = (): boolean => {
    if (this.#days === 0) return true
    const ledger = this.#ledger
    const before = ledger.now - this.#days * DAY_MS
    let n = 0
    for (const state of this.#s.oldestStates.all(RETENTION_SLICE)) {
      if (Number(state['at']) >= before) return true
      this.#s.deleteState.run(state['seq']!)
      ledger.floor = Math.max(ledger.floor, Number(state['seq']))
      n += 1
    }
    return n < RETENTION_SLICE
  }

  /** Channels that nobody writes to any more are too full where the setting was lowered, or the process ended before it pruned. */
  #countEntries = (): boolean => {
    const at = this.#count(this.#s.nextEntries, this.#entriesAt)
    this.#entriesAt = at ?? ''
    return at === null
  }

  #countStates = (): boolean => {
    const at = this.#count(this.#s.nextStates, this.#statesAt)
    this.#statesAt = at ?? ''
    return at === null
  }

  /** Looks at the channels after one, some rows at a time; the last it came to, or null where there are no more. */
  #count(next: Statement, after: string): string | null {
    const { most, over } = this.#ledger
    if (most === Number.POSITIVE_INFINITY) return null
    let at = after
    for (let rows = 0; rows < COUNTED_ROWS; ) {
      const row = next.get(at, most + 1)
      if (!row) return null
      at = row['channel'] as string
      const size = Number(row['n'])
      if (size > most) over.add(at)
      rows += size
    }
    return at
  }

  #forgetKeys = (): boolean =>
    Number(this.#s.forgetKeys.run(RETENTION_SLICE, this.#ledger.now).changes) < RETENTION_SLICE

  #forgetTickets = (): boolean =>
    Number(this.#s.forgetTickets.run(this.#ledger.now, RETENTION_SLICE).changes) < RETENTION_SLICE

  /** Marks on entries that are gone never count; they only take room. */
  #sweepMarks = (): boolean => {
    const rows = this.#s.marks.all(...this.#markAt, RETENTION_SLICE)
    for (const { user, channel, seq, orphan } of rows as {
      user: string
      channel: string
      seq: number
      orphan: number
    }[]) {
      if (orphan === 1) this.#s.deleteMark.run(user, channel, seq)
      this.#markAt = [user, channel, seq]
    }
    return rows.length < RETENTION_SLICE
  }

  /** Without marks there is nothing below any level. */
  #sweepReach = (): boolean => {
    const rows = this.#s.reach.all(...this.#reachAt, RETENTION_SLICE)
    for (const { user, channel, orphan } of rows as {
      user: string
      channel: string
      orphan: number
    }[]) {
      if (orphan === 1) this.#s.deleteReach.run(user, channel)
      this.#reachAt = [user, channel]
    }
    return rows.length < RETENTION_SLICE
  }

  /** Whoever comes from below the floor of all begins anew anyway. */
  #sweepFloors = (): boolean => {
    const rows = this.#s.floors.all(this.#floorAt, RETENTION_SLICE)
    for (const { channel, seq, dropped } of rows as {
      channel: string
      seq: number
      dropped: number
    }[]) {
      if (Math.max(seq, dropped) <= this.#ledger.floor) this.#s.deleteFloor.run(channel)
      this.#floorAt = channel
    }
    return rows.length < RETENTION_SLICE
  }

  #sweepSizes = (): boolean =>
    Number(this.#s.deleteSizes.run(RETENTION_SLICE).changes) < RETENTION_SLICE

  #removeNote(note: Row, remove: (channel: string, seq: number, first: number) => boolean): number {
    const recipients = note['recipients'] as string
    const first = Number(note['seq'])
    const channels = recipients.startsWith('users:')
      ? [...new Set(recipients.slice(6).split('\n'))].map((user) => `user:${user}`)
      : [recipients]
    channels.forEach((channel, k) => {
      if (remove(channel, first + k, first)) this.#ledger.dropped.add(channel)
    })
    return channels.length
  }
}

function statements({ db }: Ledger) {
  const prepare = (sql: string): Statement => db.prepare(sql)
  return {
    due: prepare('SELECT seq, recipients FROM note WHERE exp <= ? ORDER BY exp LIMIT ?'),
    oldestKept: prepare(
      'SELECT seq FROM entry WHERE channel = ? AND (exp IS NULL OR exp > ?) ORDER BY seq DESC LIMIT 1 OFFSET ?'
    ),
    entriesBefore: prepare(
      'SELECT seq, note FROM entry WHERE channel = ? AND seq < ? ORDER BY seq LIMIT ?'
    ),
    oldestKeptState: prepare(
      'SELECT seq FROM state WHERE channel = ? ORDER BY seq DESC LIMIT 1 OFFSET ?'
    ),
    statesBefore: prepare(
      'SELECT seq FROM state WHERE channel = ? AND seq < ? ORDER BY seq LIMIT ?'
    ),
    deleteState: prepare('DELETE FROM state WHERE seq = ?'),
    oldest: prepare('SELECT seq, recipients, at FROM note ORDER BY seq LIMIT ?'),
    oldestStates: prepare('SELECT seq, at FROM state ORDER BY seq LIMIT ?'),
    nextEntries: prepare(nextChannel('entry')),
    nextStates: prepare(nextChannel('state')),
    forgetKeys: prepare(
      'DELETE FROM idem WHERE n IN (SELECT n FROM idem ORDER BY n LIMIT ?) AND exp <= ?'
    ),
    forgetTickets: prepare(
      'DELETE FROM ticket WHERE hash IN (SELECT hash FROM ticket WHERE exp <= ? LIMIT ?)'
    ),
    marks: prepare(
      `SELECT user, channel, seq, NOT EXISTS (SELECT 1 FROM entry e WHERE e.channel = mark.channel AND e.seq = mark.seq) AS orphan
       FROM mark WHERE (user, channel, seq) > (?, ?, ?) ORDER BY user, channel, seq LIMIT ?`
    ),
    reach: prepare(
      `SELECT user, channel, NOT EXISTS (SELECT 1 FROM mark m WHERE m.user = reach.user AND m.channel = reach.channel) AS orphan
       FROM reach WHERE (user, channel) > (?, ?) ORDER BY user, channel LIMIT ?`
    ),
    deleteReach: prepare('DELETE FROM reach WHERE user = ? AND channel = ?'),
    floors: prepare(
      'SELECT channel, seq, dropped FROM floor WHERE channel > ? ORDER BY channel LIMIT ?'
    ),
    deleteFloor: prepare('DELETE FROM floor WHERE channel = ?'),
    deleteSizes: prepare(
      'DELETE FROM size WHERE channel IN (SELECT channel FROM size WHERE n = 0 LIMIT ?)'
    ),
    deleteMark: prepare('DELETE FROM mark WHERE user = ? AND channel = ? AND seq = ?')
  }
}

/** The channel after one, by index, and its rows as far as the limit. */
const nextChannel = (table: 'entry' | 'state'): string =>
  `SELECT c.channel, (SELECT count(*) FROM (SELECT 1 FROM ${table} WHERE channel = c.channel LIMIT ?2)) AS n
   FROM (SELECT channel FROM ${table} WHERE channel > ?1 ORDER BY channel LIMIT 1) c`
