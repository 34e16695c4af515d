export { BellwireError } from './error.ts'
export { createInbox } from './inbox.ts'
export type {
  Counts,
  Inbox,
  InboxEvents,
  InboxOptions,
  InboxState,
  Item,
  ResetReason,
  Status
} from './types.ts'
