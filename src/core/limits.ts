/** Every number that is not a setting, with its reason. Durations are milliseconds, sizes bytes, unless the name says otherwise. */

/** A notification as JSON. Small enough that a page of replay fits in one socket buffer, large enough for any text a person reads. */
export const MAX_NOTIFICATION_BYTES = 16 * 1024
/** Items in one batch: enough to amortise a request, few enough that parsing does not stall the streams. */
export const MAX_BATCH_ITEMS = 1000
/** Recipients named one by one; beyond that a topic is the right tool. */
export const MAX_RECIPIENTS = 1000
/** Nesting of `data`; deeper values overflow the stack of some JSON encoders. */
export const MAX_DATA_DEPTH = 32
/** Ids in one mark request. */
export const MAX_MARK_IDS = 500
/** How long an idempotency key is remembered. */
export const IDEMPOTENCY_MS = 24 * 60 * 60 * 1000
/** How long a ticket may be used after it was issued. */
export const TICKET_MS = 30_000
/** Events in one page of replay: about 100 KB of frames, written before the next page is read. */
export const REPLAY_PAGE = 100
/** Events held for a connection that is reading its last page; beyond it the page is read again instead. */
export const MAX_HELD_EVENTS = 1000
/** Rows that one slice of retention deletes, so that a slice stays in the low milliseconds. */
export const RETENTION_SLICE = 500
/** Commands waiting for the writer before publishing answers 503: seconds of work, not minutes. */
export const MAX_PENDING_COMMANDS = 50_000
/** Latest instant that ISO 8601 writes with four digits of year; later expiries are clamped to it. */
export const MAX_INSTANT = Date.UTC(9999, 11, 31, 23, 59, 59, 999)
/** Errors kept for `/monitor`. */
export const RECENT_ERRORS = 50
/** One point of history each, for the last hour. */
export const HISTORY_STEP_MS = 10_000
export const HISTORY_POINTS = 360
/** Largest delay a Node timer takes; a longer one fires at once. */
export const MAX_TIMER_MS = 2_147_483_647
/** Listeners for streams to open: files, sockets and store handles the process needs beside its streams. */
export const RESERVED_FILES = 200

/** How long a commit waits for as many commands as lately came together. Less than a disk's own flush, and not felt beside a network. */
export const COMPANY_MS = 3
