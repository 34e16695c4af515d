import { parseCursor } from './cursor.ts'
import type { Store } from './store.ts'

/**
 * The place that a user's cursor names in that user's log. One that is not known here may come from another process that is ahead of
 * this one: the store catches up before the answer is no.
 */
export async function findPlace(store: Store, user: string, cursor: string): Promise<ReturnType<typeof parseCursor>> {
  const log = store.logOf(user)
  const place = parseCursor(cursor, log.epoch, log.head)
  if ('seq' in place) return place
  await store.catchUp(user)
  return parseCursor(cursor, log.epoch, log.head)
}
