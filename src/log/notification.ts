/** The recipients of a notification: exactly one of the four. */
export type Recipients =
  | { readonly user: string }
  | { readonly users: readonly string[] }
  | { readonly topic: string }
  | { readonly everyone: true }

/** A validated notification, ready to be appended. */
export interface Publication {
  readonly id: string
  readonly to: Recipients
  /**
   * The content as JSON members without the braces, `"type":"a","level":"info"…`. It is encoded
   * once, and never again for the log or a frame.
   */
  readonly content: string
  /** The collapse key, also part of `content`. */
  readonly key?: string | undefined
  /** Milliseconds since 1970, as is `expiresAt`. */
  readonly createdAt: number
  readonly expiresAt?: number | undefined
  readonly ephemeral: boolean
  readonly idempotency?: Idempotency | undefined
  /** Name of the publish key; for operators, never shown to subscribers. */
  readonly producer: string
}

/** What makes a retried request recognizable. */
export interface Idempotency {
  readonly key: string
  /**
   * SHA-256 of the request, base64url. The same key with another fingerprint is the caller's error.
   */
  readonly fingerprint: string
}

/** A notification in one channel. */
export interface Entry {
  readonly id: string
  readonly seq: number
  /** See {@link Publication.content}. */
  readonly content: string
  readonly createdAt: number
  readonly expiresAt?: number | undefined
  /** How many earlier notifications with its key it replaced, one after the other. */
  readonly times: number
  /** Id of the notification that it replaced. */
  readonly replaces?: string | undefined
}

/** What a subscriber did with an entry. */
export interface Marks {
  /** Milliseconds since 1970, or null while unread. */
  readonly readAt: number | null
  readonly seen: boolean
  readonly archived: boolean
}

/** The marks of a new entry. */
export const UNTOUCHED: Marks = { readAt: null, seen: false, archived: false }

/** How many of a subscriber's notifications are unread, and how many of those are unseen. */
export interface Counts {
  readonly unread: number
  readonly unseen: number
}
