// What stores hold, wait for and do at a time.

/** Events in one page of replay: about 100 KB of frames, written before the next page is read. */
export const REPLAY_PAGE = 100
/**
 * Content of one page of the log, and so of one poll, whatever its `limit`. A page has at least one
 * event.
 */
export const MAX_PAGE_BYTES = 1024 * 1024
/** Rows that one slice of retention deletes: a slice takes a few milliseconds. */
export const RETENTION_SLICE = 500
/**
 * Work of one transaction in the embedded store: some tens of milliseconds, for which other
 * requests wait.
 */
export const TRANSACTION_LIMIT = { entries: 1000, bytes: 4 * 1024 * 1024 } as const
/**
 * Size to which the write-ahead log is cut back once no other process, such as a backup, reads from
 * it.
 */
export const WAL_BYTES = 32 * 1024 * 1024
/**
 * Commands that may wait for the writer; beyond this a publish gets 503. Seconds of work, not
 * minutes.
 */
export const MAX_PENDING_COMMANDS = 50_000
/**
 * Content that may wait for a store; beyond this it is rejected, so that a slow disk or server does
 * not fill this process.
 */
export const MAX_PENDING_BYTES = 64 * 1024 * 1024
/** If a transaction takes longer, the disk hangs and the store is not ready. */
export const WRITER_STALL_MS = 10_000
/** How long a process that lost its store still answers, so that streams and probes learn why. */
export const LAST_WORDS_MS = 1_000
/**
 * How long requests in flight may use the store after the streams are closed: less than a stopping
 * process has left.
 */
export const ANSWER_MS = 2_500
/**
 * Least leap of a log whose clock is behind its last seq: more than a process appends between a
 * snapshot and its restore (a day at ten thousand a second). {@link WIDEST_SPREAD} is as wide, so
 * that two processes that continue from one snapshot do not meet. Millions of such starts fit below
 * 2^53.
 */
export const MIN_LEAP = 2 ** 30
export const WIDEST_SPREAD = 2 ** 30
/**
 * How many starts of the embedded store are remembered, not counting those whose cursors are too
 * old anyway. Each is a row of two numbers.
 */
export const MAX_FENCES = 1000
/**
 * Earlier epochs of the embedded store whose cursors are still known; each stands for a restored
 * database.
 */
export const MAX_PAST_EPOCHS = 100
/**
 * How long a cursor from an undone log stays among the recommendations: somebody has to check the
 * restored data.
 */
export const UNDONE_CALM_MS = 60 * 60_000
/**
 * Group-commit window: how long to wait for as many commands as the last batch had. At 2,000
 * publishes a second a window of 5 ms saves up to a fifth of the CPU time, and each publish takes
 * 2 ms longer; 1 ms takes more CPU time and saves another millisecond.
 */
export const GROUP_COMMIT_MS = 2
