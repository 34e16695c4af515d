/** A place in a log, as clients hold it: `<epoch>-<seq>`. Opaque to them; `[A-Za-z0-9._-]{1,64}` (no character that needs a CORS preflight). */
export type Cursor = string

/** Why a cursor cannot be resumed; the words of the wire. */
export type ResetReason = 'cursor_too_old' | 'cursor_unknown' | 'store_changed' | 'overflow'

const CURSOR = /^([A-Za-z0-9._]{1,40})-(0|[1-9][0-9]{0,15})$/

export const formatCursor = (epoch: string, seq: number): Cursor => `${epoch}-${seq}`

/** The text if it has the form of a cursor, of whatever log; else null. */
export const asCursor = (text: string | undefined): Cursor | null => (text !== undefined && CURSOR.test(text) ? text : null)

/**
 * The place a cursor names in the log with this epoch and head, or why there is none. Never throws: cursors come from
 * outside and may be anything.
 */
export function parseCursor(
  cursor: string,
  epoch: string,
  head: number
): { readonly seq: number } | { readonly reset: ResetReason } {
  const match = CURSOR.exec(cursor)
  if (!match) return { reset: 'cursor_unknown' }
  if (match[1] !== epoch) return { reset: 'store_changed' }
  const seq = Number(match[2])
  if (!Number.isSafeInteger(seq) || seq > head) return { reset: 'cursor_unknown' }
  return { seq }
}
