/** Who a notification is for: exactly one of the four. */
export type Recipients =
  | { readonly user: string }
  | { readonly users: readonly string[] }
  | { readonly topic: string }
  | { readonly everyone: true }

export type Level = 'info' | 'success' | 'warning' | 'error'

/** What the producer wrote, checked. */
export interface Content {
  readonly type: string
  readonly title?: string | undefined
  readonly body?: string | undefined
  readonly url?: string | undefined
  readonly image?: string | undefined
  readonly level: Level
  readonly data?: Readonly<Record<string, unknown>> | undefined
  readonly key?: string | undefined
}

/** A notification that has passed the door and is about to be appended. */
export interface Publication {
  readonly id: string
  readonly to: Recipients
  /**
   * The content as JSON members without the braces, `"type":"a","level":"info"…`: encoded once, here, so that neither
   * the log nor any frame ever encodes it again.
   */
  readonly content: string
  /** The collapse key, also part of `content`. */
  readonly key?: string | undefined
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly expiresAt?: number | undefined
  readonly ephemeral: boolean
  readonly idempotency?: Idempotency | undefined
  /** Name of the publish key that was used; for traces and logs, never shown to subscribers. */
  readonly producer: string
}

export interface Idempotency {
  readonly key: string
  /** SHA-256 of what was asked, base64url: the same key with another fingerprint is an error of the caller. */
  readonly fingerprint: string
}

/** One notification as it lies in one channel. */
export interface Entry {
  readonly id: string
  readonly seq: number
  /** See {@link Publication.content}. */
  readonly content: string
  readonly createdAt: number
  readonly expiresAt?: number | undefined
  /** How often its key has collapsed into it. */
  readonly times: number
  /** Id of the notification whose place it took. */
  readonly replaces?: string | undefined
}

/** What one subscriber has done with an entry. */
export interface Marks {
  /** Milliseconds since 1970, or null while unread. */
  readonly readAt: number | null
  readonly seen: boolean
  readonly archived: boolean
}

export const UNTOUCHED: Marks = { readAt: null, seen: false, archived: false }

/** How many of a subscriber's notifications are unread, and unseen among them. */
export interface Counts {
  readonly unread: number
  readonly unseen: number
}
