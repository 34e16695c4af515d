// Memory of everything whose keys callers choose.

/**
 * Users or topics remembered of a notification or a closed connection: as many as a person would
 * read.
 */
export const REMEMBERED_NAMES = 20

const MIB = 1024 * 1024
/**
 * Bytes of each cache whose keys callers choose (see `bounded-cache.ts`), estimated from above.
 * With all of them full, a heap of 256 MiB still has room to work.
 */
export const CACHE_BYTES = {
  /** Tokens verified with a key set, by digest: some 20,000 users with a few topics each. */
  tokens: 16 * MIB,
  /** Responses of the session look-up by digest: as many. */
  sessions: 16 * MIB,
  /** Refusals of the session look-up by digest, kept for two seconds: some 2,000. */
  sessionRefusals: 1 * MIB,
  /** Requests of each caller within the window of each rate limit: some 30,000 callers a minute. */
  rates: 8 * MIB,
  /** What happened to the newest notifications, for delivery reports: some 20,000. */
  deliveryRecords: 16 * MIB,
  /** Subscribers and topics of closed connections, for delivery reports: some 20,000. */
  connectionRecords: 16 * MIB,
  /** Users whose access was revoked within the last minute: some 20,000. */
  revocations: 8 * MIB,
  /** Kinds of log lines, each written at most once a minute. */
  lines: 2 * MIB
} as const
