import type { Log } from './store.ts'

/** A place in a log, as clients hold it: `<epoch>-<seq>`. Opaque to them; `[A-Za-z0-9._-]{1,64}` (no character that needs a CORS preflight). */
export type Cursor = string

/** Why a cursor cannot be resumed; the words of the wire. */
export type ResetReason = 'cursor_too_old' | 'cursor_unknown' | 'store_changed' | 'overflow'

const CURSOR = /^([A-Za-z0-9._]{1,40})-(0|[1-9][0-9]{0,15})$/

export const formatCursor = (epoch: string, seq: number): Cursor => `${epoch}-${seq}`

/** The text if it has the form of a cursor, of whatever log; else null. */
export const asCursor = (text: string | undefined): Cursor | null =>
  text !== undefined && CURSOR.test(text) ? text : null

/** Where a cursor leads: a place to go on from, or why there is none. */
export type CursorPlace =
  | { readonly seq: number }
  /** `undone`: it is a cursor of this log, and the log has no such place. Events were lost that a client has seen, or it is forged. */
  | { readonly reset: ResetReason; readonly undone: boolean }

/** The place a cursor names in a log, or why there is none. Never throws: cursors come from outside and may be anything. */
export function parseCursor(cursor: string, log: Pick<Log, 'epoch' | 'locate'>): CursorPlace {
  const match = CURSOR.exec(cursor)
  const seq = Number(match?.[2])
  if (!match || !Number.isSafeInteger(seq)) return { reset: 'cursor_unknown', undone: false }
  const found = log.locate(match[1]!, seq)
  if (found === 'held') return { seq }
  return {
    reset: match[1] === log.epoch ? 'cursor_unknown' : 'store_changed',
    undone: found === 'undone'
  }
}
