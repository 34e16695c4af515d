import type { InboxState } from './types.ts'

/** What there is to show before the service has told anything. */
export const EMPTY: InboxState = {
  items: [],
  counts: { unread: 0, unseen: 0 },
  status: 'connecting',
  hasMore: false,
  user: null,
  error: null
}
