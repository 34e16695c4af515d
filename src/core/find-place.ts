import { parseCursor } from './cursor.ts'
import type { Store } from './store.ts'

/**
 * The place that a cursor names in a store's log. One that is not known here may come from another process that is ahead of
 * this one: the store catches up before the answer is no.
 */
export async function findPlace(store: Store, cursor: string): Promise<ReturnType<typeof parseCursor>> {
  const place = parseCursor(cursor, store.epoch, store.head)
  if ('seq' in place) return place
  await store.catchUp()
  return parseCursor(cursor, store.epoch, store.head)
}
