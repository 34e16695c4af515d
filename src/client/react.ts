import { useSyncExternalStore } from 'react'
import type { Inbox, InboxState } from './types.ts'

/** What an inbox shows, kept up to date. Its methods are the inbox's own. */
export function useInbox(inbox: Inbox): InboxState {
  const state = (): InboxState => inbox.state
  return useSyncExternalStore(inbox.subscribe, state, state)
}

/** How many are unread; renders again only when the number changes. */
export function useUnread(inbox: Inbox): number {
  const unread = (): number => inbox.counts.unread
  return useSyncExternalStore(inbox.subscribe, unread, unread)
}
