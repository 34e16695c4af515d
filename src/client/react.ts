import { useSyncExternalStore } from 'react'
import { EMPTY } from './empty.ts'
import type { Inbox, InboxState } from './types.ts'

/** What an inbox shows, kept up to date. Its methods are the inbox's own. A server renders an empty one, and hydration begins with it. */
export function useInbox(inbox: Inbox): InboxState {
  return useSyncExternalStore(
    inbox.subscribe,
    () => inbox.state,
    () => EMPTY
  )
}

/** How many are unread; renders again only when the number changes. 0 on a server and while hydrating. */
export function useUnread(inbox: Inbox): number {
  return useSyncExternalStore(
    inbox.subscribe,
    () => inbox.counts.unread,
    () => EMPTY.counts.unread
  )
}
