import type { Api } from './api.ts'
import { isAfter } from './cursor.ts'
import type { Page } from './page.ts'
import type { Item } from './types.ts'

/**
 * Makes the function that adds the next older items to the page, which may change while they are
 * fetched. It resolves to true if there may be more, to false also if there is nothing to add to.
 * Calls at the same time share one request.
 */
export function createLoadMore(
  api: Api,
  limit: number,
  current: () => Page | null,
  set: (page: Page) => void
): () => Promise<boolean> {
  let loading: Promise<boolean> | undefined

  async function load(): Promise<boolean> {
    for (;;) {
      const from = current()
      const before = from?.items.at(-1)?.cursor
      if (!from?.more || !before) return false
      const older = await api.json<{ items: Item[]; cursor: string; next: string | null }>(
        'inbox',
        { limit, before }
      )
      const page = current()
      if (page?.user !== from.user) return false
      // The list was changed after these items were read, or ends elsewhere by now: ask again.
      if (isAfter(page.changedAt, older.cursor) || page.items.at(-1)?.cursor !== before) continue
      const more = older.next !== null
      set({ ...page, items: [...page.items, ...older.items], more })
      return more
    }
  }

  return () => {
    loading ??= load().finally(() => {
      loading = undefined
    })
    return loading
  }
}
