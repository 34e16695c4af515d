import { parseCursor } from './cursor.ts'
import type { Store } from './store.ts'

/**
 * The place that a user's cursor names in that user's log. One that is not known here may come from another process that is ahead of
 * this one: the store catches up before the answer is no.
 */
export async function findPlace(store: Store, user: string, cursor: string): Promise<ReturnType<typeof parseCursor>> {
  const { epoch, head } = store.logOf(user)
  const place = parseCursor(cursor, epoch, head)
  if ('seq' in place) return place
  await store.catchUp(user)
  const now = store.logOf(user)
  return parseCursor(cursor, now.epoch, now.head)
}
