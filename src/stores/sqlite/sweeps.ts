import { RETENTION_SLICE } from '../../bounds/limits.ts'
import { changes } from './driver.ts'
import type { WriteContext } from './write-context.ts'

/** A step of the hourly round. Returns true if it is finished, false if it has more to do. */
export type Step = () => boolean

/**
 * Deletes rows that have no effect any more and only take space: those of the past, and those about
 * entries that are gone.
 */
export class Sweeps {
  readonly #context: WriteContext
  readonly #s: ReturnType<typeof statements>
  /** The rows up to these keys have been swept. */
  #lastMark: [user: string, channel: string, seq: number] = ['', '', 0]
  #lastWatermark: [user: string, channel: string] = ['', '']
  #lastSize = ''
  #lastFloor = ''

  constructor(context: WriteContext) {
    this.#context = context
    this.#s = statements(context)
  }

  /** The steps of a new round. */
  start(): readonly Step[] {
    this.#lastMark = ['', '', 0]
    this.#lastWatermark = ['', '']
    this.#lastSize = ''
    this.#lastFloor = ''
    return [this.#keys, this.#tickets, this.#marks, this.#watermarks, this.#sizes, this.#floors]
  }

  #keys: Step = () =>
    changes(this.#s.deleteKeys, RETENTION_SLICE, this.#context.now) < RETENTION_SLICE

  #tickets: Step = () =>
    changes(this.#s.deleteTickets, this.#context.now, RETENTION_SLICE) < RETENTION_SLICE

  /** Marks on entries that are gone. */
  #marks: Step = () => {
    const rows = this.#s.marks.all(...this.#lastMark, RETENTION_SLICE)
    for (const { user, channel, seq, orphan } of rows) {
      if (orphan === 1) this.#s.deleteMark.run(user, channel, seq)
      this.#lastMark = [user, channel, seq]
    }
    return rows.length < RETENTION_SLICE
  }

  /** Watermarks of users without marks in the channel. */
  #watermarks: Step = () => {
    const rows = this.#s.watermarks.all(...this.#lastWatermark, RETENTION_SLICE)
    for (const { user, channel, orphan } of rows) {
      if (orphan === 1) this.#s.deleteWatermark.run(user, channel)
      this.#lastWatermark = [user, channel]
    }
    return rows.length < RETENTION_SLICE
  }

  /** Sizes of shared channels that are empty. */
  #sizes: Step = () => {
    const rows = this.#s.sizes.all(this.#lastSize, RETENTION_SLICE)
    for (const { channel, n } of rows) {
      if (n === 0) this.#s.deleteSize.run(channel)
      this.#lastSize = channel
    }
    return rows.length < RETENTION_SLICE
  }

  /** Floors of channels below the floor of the log: a client from there gets a reset anyway. */
  #floors: Step = () => {
    const rows = this.#s.floors.all(this.#lastFloor, RETENTION_SLICE)
    for (const { channel, seq, dropped } of rows) {
      if (Math.max(seq, dropped) <= this.#context.floor) this.#s.deleteFloor.run(channel)
      this.#lastFloor = channel
    }
    return rows.length < RETENTION_SLICE
  }
}

interface ChannelOfUser {
  readonly user: string
  readonly channel: string
  /** 1 if nothing refers to it. */
  readonly orphan: number
}

function statements({ db }: WriteContext) {
  return {
    deleteKeys: db.prepare(
      'DELETE FROM idem WHERE n IN (SELECT n FROM idem ORDER BY n LIMIT ?) AND exp <= ?'
    ),
    deleteTickets: db.prepare(
      'DELETE FROM ticket WHERE hash IN (SELECT hash FROM ticket WHERE exp <= ? LIMIT ?)'
    ),
    marks: db.prepare<ChannelOfUser & { seq: number }>(
      `SELECT user, channel, seq, NOT EXISTS (SELECT 1 FROM entry e WHERE e.channel = mark.channel AND e.seq = mark.seq) AS orphan
       FROM mark WHERE (user, channel, seq) > (?, ?, ?) ORDER BY user, channel, seq LIMIT ?`
    ),
    deleteMark: db.prepare('DELETE FROM mark WHERE user = ? AND channel = ? AND seq = ?'),
    watermarks: db.prepare<ChannelOfUser>(
      `SELECT user, channel, NOT EXISTS (SELECT 1 FROM mark m WHERE m.user = reach.user AND m.channel = reach.channel) AS orphan
       FROM reach WHERE (user, channel) > (?, ?) ORDER BY user, channel LIMIT ?`
    ),
    deleteWatermark: db.prepare('DELETE FROM reach WHERE user = ? AND channel = ?'),
    floors: db.prepare<{ channel: string; seq: number; dropped: number }>(
      'SELECT channel, seq, dropped FROM floor WHERE channel > ? ORDER BY channel LIMIT ?'
    ),
    deleteFloor: db.prepare('DELETE FROM floor WHERE channel = ?'),
    sizes: db.prepare<{ channel: string; n: number }>(
      'SELECT channel, n FROM size WHERE channel > ? ORDER BY channel LIMIT ?'
    ),
    deleteSize: db.prepare('DELETE FROM size WHERE channel = ?')
  }
}
