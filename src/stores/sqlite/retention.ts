import { RETENTION_SLICE } from '../../bounds/limits.ts'
import { type Channel, channelsOf } from '../../log/channel.ts'
import type { Statement } from './driver.ts'
import { decodeRecipients } from './recipients.ts'
import { type Step, Sweeps } from './sweeps.ts'
import type { WriteContext } from './write-context.ts'

const DAY_MS = 24 * 60 * 60 * 1000
/** Index rows that one slice counts: about a millisecond. */
const COUNTED_ROWS = 5000

/**
 * Removes entries that expired, are too old, or are too many, in slices between which commands run.
 */
export class Retention {
  readonly #context: WriteContext
  readonly #keep: number
  readonly #days: number
  readonly #sweeps: Sweeps
  /** Steps of the hourly round that are not finished. */
  readonly #round = new Set<Step>()
  /** The channels up to these names have been counted. */
  #countedEntries = ''
  #countedStates = ''
  readonly #s: ReturnType<typeof statements>

  constructor(
    context: WriteContext,
    options: { readonly days: number; readonly perChannel: number }
  ) {
    this.#context = context
    this.#keep = options.perChannel
    this.#days = options.days
    this.#sweeps = new Sweeps(context)
    this.#s = statements(context)
  }

  /** Starts a round over everything. */
  startRound(): void {
    this.#countedEntries = this.#countedStates = ''
    const own = [this.#removeOld, this.#removeOldStates, this.#countEntries, this.#countStates]
    for (const step of [...own, ...this.#sweeps.start()]) this.#round.add(step)
  }

  /** True if {@link slice} has something to do. */
  get busy(): boolean {
    return this.#round.size > 0 || this.#context.over.size > 0
  }

  /** Removes what expired, about a slice of it. */
  expire(): void {
    const context = this.#context
    let room = RETENTION_SLICE
    for (const note of this.#s.due.all(context.now, RETENTION_SLICE)) {
      room -= this.#removeNote(note, (channel, seq) => context.retract(channel, seq, note.seq))
      if (room <= 0) break
    }
    context.nextExpiry = context.firstExpiry()
  }

  /** Removes one slice. */
  slice(): void {
    for (const channel of this.#context.over) {
      if (this.#prune(channel)) this.#context.over.delete(channel)
      return
    }
    for (const step of this.#round) {
      if (step()) this.#round.delete(step)
      return
    }
  }

  #prune(channel: Channel): boolean {
    const context = this.#context
    const s = this.#s
    const oldestKept = s.oldestKept.get(channel, context.now, this.#keep - 1)
    const entries = oldestKept ? s.entriesBefore.all(channel, oldestKept.seq, RETENTION_SLICE) : []
    for (const { seq, note } of entries) context.removeEntry(channel, seq, note)
    const oldestState = s.oldestKeptState.get(channel, this.#keep - 1)
    const states = oldestState ? s.statesBefore.all(channel, oldestState.seq, RETENTION_SLICE) : []
    for (const { seq } of states) s.deleteState.run(seq)
    const last = Math.max(entries.at(-1)?.seq ?? 0, states.at(-1)?.seq ?? 0)
    if (last > 0) context.raiseFloor(channel, last)
    if (entries.length > 0) context.dropped.add(channel)
    context.forget(channel)
    return entries.length < RETENTION_SLICE && states.length < RETENTION_SLICE
  }

  #removeOld: Step = () => {
    if (this.#days === 0) return true
    const context = this.#context
    const before = context.now - this.#days * DAY_MS
    let room = RETENTION_SLICE
    for (const note of this.#s.oldest.all(RETENTION_SLICE)) {
      if (note.at >= before) return true
      const removed = this.#removeNote(note, (channel, seq) =>
        context.removeEntry(channel, seq, note.seq)
      )
      room -= removed
      context.floor = Math.max(context.floor, note.seq + removed - 1)
      if (room <= 0) return false
    }
    return true
  }

  #removeOldStates: Step = () => {
    if (this.#days === 0) return true
    const context = this.#context
    const before = context.now - this.#days * DAY_MS
    const states = this.#s.oldestStates.all(RETENTION_SLICE)
    for (const { seq, at } of states) {
      if (at >= before) return true
      this.#s.deleteState.run(seq)
      context.floor = Math.max(context.floor, seq)
    }
    return states.length < RETENTION_SLICE
  }

  /**
   * Finds channels that are too full without a write: the setting was lowered, or the process ended
   * before it pruned them.
   */
  #countEntries: Step = () => {
    const last = this.#count(this.#s.nextEntries, this.#countedEntries)
    this.#countedEntries = last ?? ''
    return last === null
  }

  #countStates: Step = () => {
    const last = this.#count(this.#s.nextStates, this.#countedStates)
    this.#countedStates = last ?? ''
    return last === null
  }

  /**
   * Counts the channels after one, a slice of rows. Returns the last channel it counted; null if
   * there are no more.
   */
  #count(next: Statement<ChannelSize>, after: string): string | null {
    const { most, over } = this.#context
    if (most === Number.POSITIVE_INFINITY) return null
    let last = after
    for (let rows = 0; rows < COUNTED_ROWS; ) {
      const row = next.get(last, most + 1)
      if (!row) return null
      if (row.n > most) over.add(row.channel)
      rows += row.n
      last = row.channel
    }
    return last
  }

  /** Removes the entries of a note, and returns the number of its channels. */
  #removeNote(
    { seq, recipients }: NoteOfChannels,
    remove: (channel: Channel, seq: number) => boolean
  ): number {
    const channels = channelsOf(decodeRecipients(recipients))
    channels.forEach((channel, k) => {
      if (remove(channel, seq + k)) this.#context.dropped.add(channel)
    })
    return channels.length
  }
}

interface NoteOfChannels {
  readonly seq: number
  readonly recipients: string
}
interface ChannelSize {
  readonly channel: Channel
  readonly n: number
}

function statements({ db }: WriteContext) {
  return {
    due: db.prepare<NoteOfChannels>(
      'SELECT seq, recipients FROM note WHERE exp <= ? ORDER BY exp LIMIT ?'
    ),
    oldestKept: db.prepare<{ seq: number }>(
      'SELECT seq FROM entry WHERE channel = ? AND (exp IS NULL OR exp > ?) ORDER BY seq DESC LIMIT 1 OFFSET ?'
    ),
    entriesBefore: db.prepare<{ seq: number; note: number }>(
      'SELECT seq, note FROM entry WHERE channel = ? AND seq < ? ORDER BY seq LIMIT ?'
    ),
    oldestKeptState: db.prepare<{ seq: number }>(
      'SELECT seq FROM state WHERE channel = ? ORDER BY seq DESC LIMIT 1 OFFSET ?'
    ),
    statesBefore: db.prepare<{ seq: number }>(
      'SELECT seq FROM state WHERE channel = ? AND seq < ? ORDER BY seq LIMIT ?'
    ),
    deleteState: db.prepare('DELETE FROM state WHERE seq = ?'),
    oldest: db.prepare<NoteOfChannels & { at: number }>(
      'SELECT seq, recipients, at FROM note ORDER BY seq LIMIT ?'
    ),
    oldestStates: db.prepare<{ seq: number; at: number }>(
      'SELECT seq, at FROM state ORDER BY seq LIMIT ?'
    ),
    nextEntries: db.prepare<ChannelSize>(nextChannel('entry')),
    nextStates: db.prepare<ChannelSize>(nextChannel('state'))
  }
}

/** Selects the channel after one, by index, and its number of rows up to a limit. */
const nextChannel = (table: 'entry' | 'state'): string =>
  `SELECT c.channel, (SELECT count(*) FROM (SELECT 1 FROM ${table} WHERE channel = c.channel LIMIT ?2)) AS n
   FROM (SELECT channel FROM ${table} WHERE channel > ?1 ORDER BY channel LIMIT 1) c`
