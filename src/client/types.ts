/** A notification as its reader has it. */
export interface Item {
  readonly id: string
  /** Its place in the log; null for an ephemeral one, which is in no list and no count. */
  readonly cursor: string | null
  readonly type: string
  readonly title?: string
  readonly body?: string
  /** http(s), or a path that begins with one `/`. */
  readonly url?: string
  /** A picture to show beside it: http(s), or a path. */
  readonly image?: string
  readonly level: 'info' | 'success' | 'warning' | 'error'
  readonly data?: Readonly<Record<string, unknown>>
  readonly key?: string
  /** The topic that it came by, if any. */
  readonly topic?: string
  readonly createdAt: string
  readonly expiresAt?: string
  readonly readAt: string | null
  readonly seen: boolean
  /** How often its collapse key took the place of an earlier one. */
  readonly times: number
  /** Id of the one whose place it took. */
  readonly replaces?: string
}

/** How many are unread, and how many of those the user has not been shown. */
export interface Counts {
  readonly unread: number
  readonly unseen: number
}

/**
 * `live`: events arrive as they happen. `polling`: they do, by repeated requests, since something in between holds streams back.
 * `connecting`: not yet, or not any more; `offline`: the service cannot be reached; both go on by themselves.
 * `unauthorized`: the credential was refused and there is no other.
 */
export type Status = 'live' | 'connecting' | 'polling' | 'offline' | 'unauthorized'

/** Why the page was replaced. */
export type ResetReason =
  | 'cursor_too_old'
  | 'cursor_unknown'
  | 'store_changed'
  | 'overflow'
  | 'user_changed'

/** Everything there is to show. A new object for each change, so that it can be compared. */
export interface InboxState {
  /** Newest first. */
  readonly items: readonly Item[]
  readonly counts: Counts
  readonly status: Status
  /** Whether `loadMore` may bring older ones. */
  readonly hasMore: boolean
  /** Whose inbox it is; null until the service has said so. */
  readonly user: string | null
  /** What went wrong last; null while all is well. */
  readonly error: Error | null
}

export interface InboxEvents {
  /** One notification, once: `created`, or `updated` where it took the place of an earlier one. */
  notification: { readonly op: 'created' | 'updated'; readonly item: Item }
  /** Something was marked, here or elsewhere, or recalled: `ids`, or everything up to `upTo`. */
  state: {
    readonly op: 'read' | 'unread' | 'seen' | 'archived' | 'removed'
    readonly ids: readonly string[] | null
    readonly upTo: string | null
  }
  /** What lay between cannot be told: `items` is a fresh page. */
  reset: { readonly reason: ResetReason }
  status: Status
}

export interface InboxOptions {
  /** Where the service is, with its base path: `https://notify.example.com`, `/notify`. Default, also for an empty string: the page's own origin. */
  readonly url?: string
  /** A JWT, or what gives one, anew when the last one ends or is refused. Default: cookies. */
  readonly token?: string | (() => string | Promise<string>)
  /** Gives a single-use ticket from your backend. A WebSocket cannot carry a token, so with `token` that rung needs it. */
  readonly ticket?: () => string | Promise<string>
  /** Some of the topics that the credential allows; as a string, names separated by commas. Default: all exact names it lists. */
  readonly topics?: string | readonly string[]
  /** Size of a page, 1–100. Default: 25. */
  readonly pageSize?: number
  /** Anything that tells this user from others, such as the user's id. With cookies it saves a request; with a JWT it is not needed. */
  readonly user?: string
  /** Keep page, cursor and unsent actions in `sessionStorage`, so that a reload goes on. Default: true. */
  readonly storage?: boolean
}

/** A user's inbox, kept up to date. */
export interface Inbox extends Pick<InboxState, 'items' | 'counts' | 'status'> {
  /** All there is to show, as one object that changes only when something in it does. */
  readonly state: InboxState
  /** Calls back after each change; returns what ends that. */
  subscribe(fn: (state: InboxState) => void): () => void
  /** Calls back for each event; returns what ends that. */
  on<K extends keyof InboxEvents>(event: K, fn: (event: InboxEvents[K]) => void): () => void
  /**
   * Marks, of up to 500 ids, show at once. The promise settles when the service has answered: offline it waits (and the mark with it, over a reload
   * as well), and where the service refuses it rejects and the mark is taken back.
   */
  read(ids: string | readonly string[]): Promise<void>
  unread(ids: string | readonly string[]): Promise<void>
  archive(ids: string | readonly string[]): Promise<void>
  /** Everything up to the newest event that this page knows. */
  readAll(): Promise<void>
  archiveAll(): Promise<void>
  /** The user has been shown what is there: `unseen` is 0. */
  seen(): Promise<void>
  /** Adds older items; true where there may be more. */
  loadMore(): Promise<boolean>
  /** Ends the connection; the last page stays readable. `forget`: nothing of it stays, here or in `sessionStorage`; for signing out. */
  close(options?: { readonly forget?: boolean }): void
}
