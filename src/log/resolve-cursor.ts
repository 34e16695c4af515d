import { type CursorPlace, parseCursor } from './cursor.ts'
import type { Store } from './store.ts'

/**
 * The place that a user's cursor names in that user's log. One that is not known here may come from another process that is ahead of
 * this one: the store catches up before the answer is no.
 */
export async function findPlace(store: Store, user: string, cursor: string): Promise<CursorPlace> {
  const log = store.logOf(user)
  const place = parseCursor(cursor, log)
  if ('seq' in place) return place
  await store.catchUp(user)
  const again = parseCursor(cursor, log)
  // A log that could not catch up does not know what it lacks.
  return 'seq' in again || log.healthy ? again : { ...again, undone: false }
}
