// Connections, with a stream and without.

/**
 * Events held for a connection that reads its last page; beyond this the page is read again
 * instead.
 */
export const MAX_HELD_EVENTS = 1000
/** Notifications in the `ready` frame, unless the client asks for another number: one screenful. */
export const READY_ITEMS = 25
/** Longest delay a Node timer accepts; a longer one fires at once. */
export const MAX_TIMER_MS = 2_147_483_647
/**
 * Streams that a user may open within {@link OPENINGS_MS}, for each slot of
 * MAX_CONNECTIONS_PER_USER: every slot could reopen each two seconds, which no client does. At
 * least {@link MIN_OPENINGS}; unlimited if slots are.
 */
export const OPENINGS_PER_SLOT = 30
export const MIN_OPENINGS = 600
export const OPENINGS_MS = 60_000
/**
 * Files, sockets and store handles that the process needs besides its streams: about 40 for itself
 * and its store, {@link MAX_LOOK_UPS} and a few more for other servers, and the rest for ordinary
 * requests.
 */
export const RESERVED_FILES = 200
/**
 * A message from a WebSocket client: its content is ignored, and libraries send no more to keep a
 * connection open.
 */
export const MAX_CLIENT_MESSAGE_BYTES = 4 * 1024
/**
 * How long a WebSocket client may take to answer a Close: some round trips, and less than a
 * stopping process has left.
 */
export const CLOSE_ANSWER_MS = 3_000
/**
 * What a caller may still send after its response, and for how long ({@link LINGER_MS}): a full
 * batch and more, over a slow network. If the connection is reset while a proxy still writes, the
 * proxy reports a dead node instead of our response.
 */
export const LINGER_BYTES = 20 * 1024 * 1024
export const LINGER_MS = 5_000
/**
 * Sockets that linger at once: a third of {@link RESERVED_FILES}. Beyond this the oldest is closed;
 * its response has been sent.
 */
export const MAX_LINGERING = 64
/**
 * Head of a request: room for a framework's cookie, a JWT and a list of topics together, for which
 * Node's 16 KiB are too few.
 */
export const MAX_HEAD_BYTES = 32 * 1024
/**
 * How long the head of a request may take to arrive, and the whole request ({@link REQUEST_MS}). A
 * slow phone takes seconds; a client that takes longer has given up.
 */
export const HEAD_MS = 15_000
export const REQUEST_MS = 25_000
/**
 * How often those deadlines are checked. A request is refused at most this long before its
 * deadline, and never after.
 */
export const REQUEST_CHECK_MS = 500
/**
 * Responses that clients have not read, and requests queued behind them. Beyond this the connection
 * that has waited longest is closed: a heap of 256 MiB holds as much besides everything else.
 */
export const MAX_UNTAKEN_BYTES = 64 * 1024 * 1024
/**
 * Memory of a request that waits for the response before it: its head, and the objects around it.
 */
export const WAITING_REQUEST_BYTES = 8 * 1024
/** Part of {@link RESERVED_FILES} that sockets without a stream may always have. */
export const RESERVED_SOCKETS = 90
/**
 * Sockets without a stream: idle connections of producers and pages, and heads on their way. A head
 * of 32 KiB in many small fields takes 80 KB until it is complete; together they stay well below a
 * heap of 256 MB.
 */
export const MAX_ORDINARY_SOCKETS = 2_000
/** Sockets with a request in progress that are skipped in the search for an idle one. */
export const MAX_LOOKS = 64
