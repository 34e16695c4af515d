import { useSyncExternalStore } from 'react'
import { EMPTY } from './empty-inbox.ts'
import type { Inbox, InboxState } from './types.ts'

/**
 * The state of an inbox; renders again when it changes. On a server and while hydrating: the empty
 * state. To change something, call the methods of the inbox.
 */
export function useInbox(inbox: Inbox): InboxState {
  return useSyncExternalStore(
    inbox.subscribe,
    () => inbox.state,
    () => EMPTY
  )
}

/**
 * The number of unread notifications; renders again only when it changes. On a server and while
 * hydrating: 0.
 */
export function useUnread(inbox: Inbox): number {
  return useSyncExternalStore(
    inbox.subscribe,
    () => inbox.counts.unread,
    () => EMPTY.counts.unread
  )
}
