/** A notification as one user sees it. */
export interface Item {
  readonly id: string
  /** Position in the log; null for an ephemeral notification, which is in no list and no count. */
  readonly cursor: string | null
  readonly type: string
  readonly title?: string
  readonly body?: string
  /** A link: http(s), or a path that begins with one `/`. */
  readonly url?: string
  /** The URL of a picture: http(s), or a path. */
  readonly image?: string
  readonly level: 'info' | 'success' | 'warning' | 'error'
  readonly data?: Readonly<Record<string, unknown>>
  /** The collapse key: a newer notification with the same key replaces this one. */
  readonly key?: string
  /** The topic it was sent to; absent if it was sent to the user or to everyone. */
  readonly topic?: string
  /** ISO 8601. */
  readonly createdAt: string
  /** ISO 8601; the item leaves every list then. */
  readonly expiresAt?: string
  /** ISO 8601; null while it is unread. */
  readonly readAt: string | null
  /** True once the user has been shown it. */
  readonly seen: boolean
  /** How many earlier notifications with its collapse key it replaced. */
  readonly times: number
  /** The id of the notification it replaced. */
  readonly replaces?: string
}

/** The numbers of unread and of unseen notifications. */
export interface Counts {
  readonly unread: number
  /** Those that the user has not been shown yet. */
  readonly unseen: number
}

/**
 * The state of the connection.
 * - `live`: events arrive as they happen.
 * - `polling`: events arrive by polling because something on the network path blocks streaming.
 * - `connecting`: not connected yet, or reconnecting.
 * - `offline`: the service cannot be reached; the inbox keeps trying.
 * - `unauthorized`: the credential was rejected, and there is no other.
 */
export type Status = 'live' | 'connecting' | 'polling' | 'offline' | 'unauthorized'

/** Why a fresh page replaced the list. */
export type ResetReason =
  | 'cursor_too_old'
  | 'cursor_unknown'
  | 'store_changed'
  | 'overflow'
  | 'user_changed'

/** Everything an application shows. Each change makes a new object, so states can be compared. */
export interface InboxState {
  /** Newest first. */
  readonly items: readonly Item[]
  readonly counts: Counts
  readonly status: Status
  /** True if `loadMore` may add older items. */
  readonly hasMore: boolean
  /** The user of the inbox; null until the service has named the user. */
  readonly user: string | null
  /** The last error; null once the connection works again. */
  readonly error: Error | null
}

/** The events of an inbox, by name. */
export interface InboxEvents {
  /**
   * A notification arrived: `created`, or `updated` if it replaced an earlier one. Emitted once
   * each.
   */
  notification: { readonly op: 'created' | 'updated'; readonly item: Item }
  /**
   * Items were marked, in this tab or elsewhere, or recalled (`removed`): those in `ids`, or, if
   * `ids` is null, everything up to the cursor `upTo`.
   */
  state: {
    readonly op: 'read' | 'unread' | 'seen' | 'archived' | 'removed'
    readonly ids: readonly string[] | null
    readonly upTo: string | null
  }
  /** A fresh page replaced `items`, because the events in between are not available one by one. */
  reset: { readonly reason: ResetReason }
  /** The status changed. */
  status: Status
}

/** Options of `createInbox`. */
export interface InboxOptions {
  /**
   * The URL of the service, with its base path: `https://notify.example.com` or `/notify`. Default,
   * also for an empty string: the origin of the page.
   */
  readonly url?: string
  /**
   * A JWT, or a function that returns one. Concurrent requests share one call; it is called again
   * before the token expires and after a 401. Default: cookies.
   */
  readonly token?: string | (() => string | Promise<string>)
  /**
   * Returns a single-use ticket from your backend. Use together with `token`. WebSockets cannot
   * send a token, so without `ticket` the WebSocket fallback is skipped.
   */
  readonly ticket?: () => string | Promise<string>
  /**
   * The topics to read, out of those the credential allows; in a string, separated by commas.
   * Default: every exact name in the credential.
   */
  readonly topics?: string | readonly string[]
  /** Items in a page, 1–100. Default: 25. */
  readonly pageSize?: number
  /**
   * Any text that identifies the user, such as the user id. With cookies it saves a request; with a
   * JWT it is not needed.
   */
  readonly user?: string
  /**
   * Keeps the page, the cursor and unsent marks in `sessionStorage`, so that a reload resumes.
   * Default: true.
   */
  readonly storage?: boolean
}

/** The inbox of one user, kept up to date. */
export interface Inbox extends Pick<InboxState, 'items' | 'counts' | 'status'> {
  /** Everything to show, as one object that is replaced whenever something in it changes. */
  readonly state: InboxState
  /** Calls `fn` after each change. Returns a function that unsubscribes. */
  subscribe(fn: (state: InboxState) => void): () => void
  /** Calls `fn` for each event of this name. Returns a function that unsubscribes. */
  on<K extends keyof InboxEvents>(event: K, fn: (event: InboxEvents[K]) => void): () => void
  /**
   * Marks up to 500 ids as read. The change shows at once; the promise resolves when the service
   * has accepted it. Offline the mark waits, also across a reload. If the service rejects it, the
   * change is undone and the promise rejects with a `BellwireError`.
   */
  read(ids: string | readonly string[]): Promise<void>
  /** Marks as unread; as for `read`. */
  unread(ids: string | readonly string[]): Promise<void>
  /** Archives, which removes the items from the list; as for `read`. */
  archive(ids: string | readonly string[]): Promise<void>
  /** Marks everything as read, up to the newest event this page has received; as for `read`. */
  readAll(): Promise<void>
  /** Archives everything, up to the newest event this page has received; as for `read`. */
  archiveAll(): Promise<void>
  /** Marks everything as seen, which sets `unseen` to 0; as for `read`. */
  seen(): Promise<void>
  /** Adds the next older items. Resolves to true if there may be more. */
  loadMore(): Promise<boolean>
  /**
   * Closes the connection; the last state stays readable. On sign-out pass `forget`: it deletes the
   * state here and in `sessionStorage`.
   */
  close(options?: { readonly forget?: boolean }): void
}
