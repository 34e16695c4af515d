// Redis and the other nodes.

/**
 * How long a Redis command may take, including the connection: a publish that hangs is worse than a
 * 503.
 */
export const REDIS_COMMAND_TIMEOUT_MS = 2_000
/**
 * A Redis connection with pending commands and no data for this long is given up: its peer has
 * vanished. Longer than {@link REDIS_COMMAND_TIMEOUT_MS}.
 */
export const REDIS_SOCKET_TIMEOUT_MS = 5_000
/**
 * Longest pause before Redis is tried again: streams must catch up within five seconds of its
 * return.
 */
export const REDIS_RECONNECT_MS = 1_000
/** Least time between two requests for the slots of a Redis Cluster: a fail-over takes longer. */
export const REDIS_REFRESH_MS = 250
/**
 * How often the log in Redis is read without a wake-up: a lost wake-up delays events by no more
 * than this.
 */
export const REDIS_POLL_MS = 1_000
/**
 * How long a write waits for `REDIS_WAIT_REPLICAS`; with the write it stays below {@link
 * REDIS_COMMAND_TIMEOUT_MS}.
 */
export const REDIS_REPLICA_TIMEOUT_MS = 1_000
/**
 * Work of one call of the append script: about five milliseconds, in which Redis does nothing else.
 */
export const REDIS_CALL_LIMIT = { entries: 256, bytes: 1024 * 1024 } as const
/**
 * Entries that a process may append to Redis before it has followed them; then its next publish
 * waits until it has.
 */
export const REDIS_AHEAD_ENTRIES = 256
/** How often Redis is asked for its size and settings. */
export const REDIS_INSPECT_MS = 10_000
/** Least time between two sweeps: if Redis' clock is behind ours, nothing is due yet. */
export const REDIS_SWEEP_PAUSE_MS = 20
/** How often a node renews its lease and reports its state. */
export const BEAT_MS = 2_000
/**
 * A node that is silent for this long is dead, and its users' slots are free. Ten beats, so that a
 * garbage collection is no death.
 */
export const LEASE_MS = 20_000
/** Keys that no node renews expire in Redis after this time. */
export const CLUSTER_KEYS_MS = 10 * 60_000
/**
 * How long to wait for the answers of other nodes: a revoked user's streams must end within a
 * second, including the count.
 */
export const ASK_MS = 500
/** How long a stream waits for a slot while it opens; its first bytes are due within a second. */
export const ACQUIRE_SLOT_MS = 300
/** Rows of `/monitor/connections` that one node sends another. */
export const MAX_ANSWER_ROWS = 5_000
/**
 * JSON of one node's answer to another: thirty may answer at once before Redis drops the connection
 * that asked, at 32 MB.
 */
export const MAX_ANSWER_BYTES = 1024 * 1024
/**
 * Users whose slots Redis may not know; if there are more, the node reports all of its users again.
 */
export const MAX_UNSURE_USERS = 10_000
/** Connections of one user in another node's part of a delivery report. */
export const MAX_ANSWER_CONNECTIONS = 200
/** Users in one command when a node reports all of its users again. */
export const SLOTS_SLICE = 500
