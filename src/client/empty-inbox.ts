import type { InboxState } from './types.ts'

/** The state before the service has answered. */
export const EMPTY: InboxState = {
  items: [],
  counts: { unread: 0, unseen: 0 },
  status: 'connecting',
  hasMore: false,
  user: null,
  error: null
}
