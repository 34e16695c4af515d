import type { EventLog, Log } from './store.ts'

/**
 * A position in a log, as clients hold it: `<epoch>-<seq>`. Opaque to them; `[A-Za-z0-9._-]{1,64}`,
 * because any other character would need a CORS preflight.
 */
export type Cursor = string

/** Why a stream cannot resume at a cursor, in the words of the wire. */
export type ResetReason = 'cursor_too_old' | 'cursor_unknown' | 'store_changed' | 'overflow'

const CURSOR = /^([A-Za-z0-9._]{1,40})-(0|[1-9][0-9]{0,15})$/

/** The cursor of an event. */
export const formatCursor = (epoch: string, seq: number): Cursor => `${epoch}-${seq}`

/** The string if it is a well-formed cursor of any log, otherwise null. */
export const asCursor = (text: string | undefined): Cursor | null =>
  text !== undefined && CURSOR.test(text) ? text : null

/** The seq that a cursor names, or why a client cannot resume there. */
export type ResolvedCursor =
  | { readonly seq: number }
  /**
   * `undone`: the cursor has the epoch of this log, but the log has no such seq; see
   * `CursorStatus`.
   */
  | { readonly reset: ResetReason; readonly undone: boolean }

/** Looks a cursor up in a log. Never throws: a client may send any text. */
export function parseCursor(
  cursor: string,
  log: Pick<Log, 'epoch' | 'cursorStatus'>
): ResolvedCursor {
  const [, epoch = '', digits] = CURSOR.exec(cursor) ?? []
  const seq = Number(digits)
  if (!Number.isSafeInteger(seq)) return { reset: 'cursor_unknown', undone: false }
  const status = log.cursorStatus(epoch, seq)
  if (status === 'held') return { seq }
  return {
    reset: epoch === log.epoch ? 'cursor_unknown' : 'store_changed',
    undone: status === 'undone'
  }
}

/**
 * Looks a cursor up in the user's log. Another process may be ahead of this one and have given it
 * out, so the store catches up before the cursor is refused.
 */
export async function resolveCursor(
  store: Pick<EventLog, 'logOf' | 'catchUp'>,
  user: string,
  cursor: string
): Promise<ResolvedCursor> {
  const log = store.logOf(user)
  const resolved = parseCursor(cursor, log)
  if ('seq' in resolved) return resolved
  await store.catchUp(user)
  const again = parseCursor(cursor, log)
  // A log that could not catch up may have this seq after all.
  return 'seq' in again || log.healthy ? again : { ...again, undone: false }
}
