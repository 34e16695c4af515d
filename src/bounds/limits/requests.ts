// What a request may contain.

/**
 * A notification as JSON: small enough that a page of replay fits in a socket buffer, large enough
 * for any text a person reads.
 */
export const MAX_NOTIFICATION_BYTES = 16 * 1024
/** Most entries of each list that a caller or an application sends. */
export const MAX_ENTRIES = {
  /**
   * Topics that one subscriber reads at a time: the store is asked about each when a stream opens.
   */
  topics: 200,
  /**
   * Topics and prefixes in a credential: a ticket, a claim of a token, or a response of the session
   * look-up.
   */
  grants: 1000,
  /**
   * Items in a batch: enough to amortise a request, few enough that parsing does not stall the
   * streams.
   */
  batch: 1000,
  /** Recipients named one by one; use a topic for more. */
  recipients: 1000,
  /** Users in one request for presence: every node counts the connections of each. */
  presence: 100,
  /** Ids in one mark request. */
  markIds: 500,
  /** Entity tags in `If-None-Match`; a page has a handful of responses to compare. */
  validators: 100,
  /** Faults in one problem document: enough to fix a request, and the response stays small. */
  faults: 20
} as const
/** Nesting of `data`: deeper values overflow the stack of some JSON encoders. */
export const MAX_DATA_DEPTH = 32
/**
 * The most recipients of one batch: a few seconds of work for the store. A topic counts as one, and
 * so does everyone.
 */
export const MAX_BATCH_RECIPIENTS = 100_000
/**
 * Characters of one item in a batch: names and content in their longest spelling. A longer item is
 * not parsed.
 */
export const MAX_ITEM_TEXT = 1024 * 1024
/**
 * A full batch of the largest notifications with the longest names of all recipients, and room for
 * white space.
 */
export const MAX_BATCH_BYTES = 32 * 1024 * 1024
/** How long an idempotency key is remembered. */
export const IDEMPOTENCY_MS = 24 * 60 * 60 * 1000
/** How long a piece of long work may hold the event loop before others get a turn. */
export const LOOP_TURN_MS = 5
/** Latest instant with a year of four digits in ISO 8601; later expiries are clamped to it. */
export const MAX_INSTANT = Date.UTC(9999, 11, 31, 23, 59, 59, 999)
