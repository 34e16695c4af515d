import { EMPTY } from './empty-inbox.ts'
import type { Outbox } from './outbox.ts'
import { mark, type Page } from './page.ts'
import type { InboxState } from './types.ts'

/** What the application sees: the service's page with the user's own marks on top. */
export function viewOf(
  page: Page | null,
  marks: Outbox['marks'],
  status: InboxState['status'],
  error: InboxState['error']
): InboxState {
  let shown: Pick<Page, 'items' | 'counts'> = page ?? EMPTY
  for (const one of marks) shown = mark(shown, one.mark, one.at)
  const { items, counts } = shown
  return {
    items,
    counts,
    status,
    hasMore: page?.more ?? false,
    user: page?.user ?? null,
    error
  }
}
