// Figures, health and alerts.

/** Errors kept for `/monitor`. */
export const RECENT_ERRORS = 50
/** Characters of an error message kept for `/monitor`. */
export const MAX_ERROR_MESSAGE = 500
/** Time between two points of history; the points cover the last hour. */
export const HISTORY_STEP_MS = 10_000
export const HISTORY_POINTS = 360
/** How long a figure must stay below the lower threshold before its rule clears. */
export const CALM_MS = 30_000
/** The same for rules about the store: shorter, because operators wait for its recovery. */
export const STORE_CALM_MS = 10_000
/** How long a condition that comes and goes with load must last before it is reported. */
export const LASTING_MS = 10_000
/** How long every sign-in must fail before it is reported. */
export const SIGN_IN_FAILING_MS = 30_000
/**
 * How long a failed sign-in counts: clients retry within half a minute, so by then no client tries
 * any more.
 */
export const SIGN_IN_MEMORY_MS = 2 * 60_000
/**
 * Fewest connections for a share to mean something: three slow clients of ten are no sign of
 * anything.
 */
export const MIN_POPULATION = 100
/** Shortest silence of producers that is reported, whatever their habits. */
export const MIN_SILENCE_MS = 15 * 60_000
/**
 * Disk space that the store should have left: for a commit, its log and a vacuum after a busy hour.
 */
export const DISK_RESERVE_BYTES = 512 * 1024 * 1024
/** The same as a share, for a small disk. */
export const DISK_RESERVE_SHARE = 0.1
/** Fewest acknowledgements within a minute for a median to mean something. */
export const MIN_ACKNOWLEDGEMENTS = 10
/**
 * Lifetimes of streams that are compared, in whole seconds: shorter ones are page views, and no
 * proxy has a longer time-out.
 */
export const MIN_LIFETIME_S = 5
export const MAX_LIFETIME_S = 900
/** How long lifetimes are remembered, in two halves. */
export const LIFETIMES_MS = 10 * 60_000
/**
 * Ends of equal lifetime within one second that count: a network failure ends everything at once.
 */
export const LIFETIMES_A_SECOND = 5
/** An error code or a producer gets one log line within this time, with a count. */
export const LINE_EVERY_MS = 60_000
/** At most one alert is delivered within this time. */
export const ALERT_EVERY_MS = 60_000
/** How long the receiver of an alert may take. */
export const ALERT_TIMEOUT_MS = 10_000
/** First and longest pause after an alert that failed; the pause doubles each time. */
export const ALERT_RETRY_MS = [1_000, 60_000] as const
