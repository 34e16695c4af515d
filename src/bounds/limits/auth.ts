// Credentials, and the servers that are asked about them.

/**
 * How long a process remembers a revocation: longer than a stream takes from authentication to its
 * opening.
 */
export const REVOCATION_ECHO_MS = 60_000
/** How long a ticket is valid. */
export const TICKET_MS = 30_000
/** Shortest key of a producer or operator in production: shorter ones can be guessed. */
export const MIN_KEY_CHARACTERS = 16
/**
 * Session look-ups in flight: enough for a thousand a second at 60 ms each, and a third of {@link
 * RESERVED_FILES}.
 */
export const MAX_LOOK_UPS = 64
/** How long a session look-up may take, including the wait for its turn. */
export const LOOK_UP_MS = 2_000
/** Response of a session look-up: it names a user and topics, so a larger one is something else. */
export const MAX_LOOK_UP_BYTES = 64 * 1024
/** How long fetching a key set may take. */
export const KEY_SET_TIMEOUT_MS = 2_000
/**
 * A key set is fetched again after this time. While it can be fetched, no key counts from a set
 * older than {@link KEY_SET_MAX_AGE_MS}.
 */
export const KEY_SET_REFRESH_MS = 5 * 60_000
export const KEY_SET_MAX_AGE_MS = 10 * 60_000
/**
 * While a key set cannot be fetched, the last keys stay valid for a day: as long as it may take to
 * repair an issuer.
 */
export const KEY_SET_KEEP_MS = 24 * 60 * 60_000
/** How often a key set that could not be fetched is fetched again, even without a request. */
export const KEY_SET_RETRY_MS = 30_000
/**
 * Least time between two fetches for an unknown key: fast after a rotation, bounded if callers
 * invent key ids.
 */
export const KEY_SET_COOLDOWN_MS = 1_000
/** Key sets of large providers have a dozen keys with certificates, about 50 KB. */
export const MAX_KEY_SET_BYTES = 1024 * 1024
/**
 * How long a refusal of the session look-up is remembered: a page that retries at once costs the
 * application one request.
 */
export const LOOK_UP_NO_MS = 2_000
/** How long a confirmation of the session look-up is valid at most, counted from the request. */
export const LOOK_UP_YES_MS = 10_000
/**
 * Idle sockets to other servers are closed after this time: servers close theirs after 5 s or
 * later.
 */
export const OUTSIDE_IDLE_MS = 4_000
/**
 * Requests to one other server that may wait for a turn, by the size of their headers: some
 * thousands.
 */
export const MAX_WAITING_OUTSIDE_BYTES = 16 * 1024 * 1024
