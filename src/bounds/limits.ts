/** Every number that is not a setting, with its reason. Durations are milliseconds, sizes bytes, unless the name says otherwise. */

/** A notification as JSON. Small enough that a page of replay fits in one socket buffer, large enough for any text a person reads. */
export const MAX_NOTIFICATION_BYTES = 16 * 1024

/** How many entries each list may have that a caller sends, or an application that is asked. */
export const MAX_ENTRIES = {
  /** Topics that one reader reads at a time, of `topics=` or of the credential: each is asked of the store at every opening. */
  topics: 200,
  /** Topics and prefixes in a credential: a ticket, the claim of a token, or an answer of the session look-up. */
  grants: 1000,
  /** Items in one batch: enough to amortise a request, few enough that parsing does not stall the streams. */
  batch: 1000,
  /** Recipients named one by one; beyond that a topic is the right tool. */
  recipients: 1000,
  /** Ids in one mark request. */
  markIds: 500,
  /** Validators in `If-None-Match`; a page has a handful of answers to compare. */
  validators: 100,
  /** Faults that one problem document reports: enough to mend a request, and its answer stays small. */
  faults: 20
} as const

/** Nesting of `data`; deeper values overflow the stack of some JSON encoders. */
export const MAX_DATA_DEPTH = 32
/** Recipients of one batch in sum, a topic or everyone being one: a few seconds of the store's work. */
export const MAX_BATCH_RECIPIENTS = 100_000
/** Characters of one item as a batch holds it: names and content in their most wasteful spelling. What is longer is not parsed. */
export const MAX_ITEM_TEXT = 1024 * 1024
/** A full batch of the largest notifications, the longest names of all its recipients, and room for what stands between them. */
export const MAX_BATCH_BYTES = 32 * 1024 * 1024
/** How long an idempotency key is remembered. */
export const IDEMPOTENCY_MS = 24 * 60 * 60 * 1000
/** How long a revocation is remembered beside its user: longer than it takes from the check of a credential to an open stream. */
export const REVOCATION_ECHO_MS = 60_000
/** How long a ticket may be used after it was issued. */
export const TICKET_MS = 30_000
/** Events in one page of replay: about 100 KB of frames, written before the next page is read. */
export const REPLAY_PAGE = 100
/** Content of one page of the log: what one poll is answered with, whatever its `limit`. One event is always in it. */
export const MAX_PAGE_BYTES = 1024 * 1024
/** Events held for a connection that is reading its last page; beyond it the page is read again instead. */
export const MAX_HELD_EVENTS = 1000
/** Rows that one slice of retention deletes, so that a slice stays in the low milliseconds. */
export const RETENTION_SLICE = 500
/** What one transaction of the embedded store takes at a time, some tens of milliseconds: other requests wait for no more. */
export const TRANSACTION_LIMIT = { entries: 1000, bytes: 4 * 1024 * 1024 } as const
/** The log of writes is cut back to this when a reader of another process, such as a backup, no longer keeps it from being reused. */
export const WAL_BYTES = 32 * 1024 * 1024
/** Commands waiting for the writer before publishing answers 503: seconds of work, not minutes. */
export const MAX_PENDING_COMMANDS = 50_000
/** Content that may wait for a store; more is refused, so that a slow disk or server does not fill this process. */
export const MAX_PENDING_BYTES = 64 * 1024 * 1024
/** A transaction that takes longer than this has a disk that hangs: the store is not ready. */
export const WRITER_STALL_MS = 10_000
/** How long a process whose store is lost still answers, so that streams hear where to go and probes why. */
export const LAST_WORDS_MS = 1_000
/** How long requests in flight may use the store once the streams are closed: less than a stopping process has left. */
export const ANSWER_MS = 2_500
/** How long one piece of long work keeps the event loop before everybody else has a turn. */
export const LOOP_TURN_MS = 5
/** Latest instant that ISO 8601 writes with four digits of year; later expiries are clamped to it. */
export const MAX_INSTANT = Date.UTC(9999, 11, 31, 23, 59, 59, 999)
/** Errors kept for `/monitor`. */
export const RECENT_ERRORS = 50
/** Characters of an error's message that are kept for `/monitor`. */
export const MAX_ERROR_MESSAGE = 500
/** One point of history each, for the last hour. */
export const HISTORY_STEP_MS = 10_000
export const HISTORY_POINTS = 360
/** Largest delay a Node timer takes; a longer one fires at once. */
export const MAX_TIMER_MS = 2_147_483_647
/** Shortest key of a producer or an operator in production: a typed word is shorter, and is found by trying. */
export const MIN_KEY_CHARACTERS = 16
/**
 * Streams that one user may open within a minute, for each of the places that MAX_CONNECTIONS_PER_USER grants: all of them could come
 * back every two seconds, which no client does. At least the second figure; without a limit of places there is none of openings.
 */
export const OPENINGS_PER_SLOT = 30
export const MIN_OPENINGS = 600
export const OPENINGS_MS = 60_000
/**
 * Files, sockets and store handles that the process needs beside its streams: about 40 for itself and its
 * store, {@link MAX_LOOK_UPS} and a few more for other servers, the rest for requests that are no streams.
 */
export const RESERVED_FILES = 200

/** Session look-ups under way at a time: enough for a thousand a second at 60 ms each, a third of {@link RESERVED_FILES}. */
export const MAX_LOOK_UPS = 64
/** How long a session look-up may take, the wait for its turn included. */
export const LOOK_UP_MS = 2_000
/** The answer of a session look-up names a user and topics; more than this is something else. */
export const MAX_LOOK_UP_BYTES = 64 * 1024
/** How long a key set may take. */
export const KEY_SET_TIMEOUT_MS = 2_000
/** A key set is fetched again after this, and no key counts from one that is twice as old while it can be fetched. */
export const KEY_SET_REFRESH_MS = 5 * 60_000
export const KEY_SET_MAX_AGE_MS = 10 * 60_000
/** While it cannot be fetched, the keys that were stay good for a day: as long as it may take to mend an issuer. */
export const KEY_SET_KEEP_MS = 24 * 60 * 60_000
/** How often a key set that could not be fetched is asked for again without a caller. */
export const KEY_SET_RETRY_MS = 30_000
/** An unknown key is asked for at once after a rotation, and at most this often by callers who make up key ids. */
export const KEY_SET_COOLDOWN_MS = 1_000
/** Key sets of large providers have a dozen keys with certificates, some 50 KB. */
export const MAX_KEY_SET_BYTES = 1024 * 1024
/** How long a "no" of the session look-up is believed: a page that tries again at once costs the application one question. */
export const LOOK_UP_NO_MS = 2_000
/** Longest a "yes" of the session look-up is believed, counted from the question. */
export const LOOK_UP_YES_MS = 10_000
/** Sockets to other servers are closed after being idle for this: servers close theirs after 5 s or later as they come. */
export const OUTSIDE_IDLE_MS = 4_000
/** Questions to one other server that may wait for a turn, by the size of their headers: some thousands. */
export const MAX_WAITING_OUTSIDE_BYTES = 16 * 1024 * 1024

/**
 * Least leap of a log whose clock is behind its places: more than a life appends between a snapshot and its being put back (a day at ten
 * thousand a second), and a spread as wide, so that two lives that go on from one snapshot do not meet. Millions of such starts fit
 * below 2^53.
 */
export const MIN_LEAP = 2 ** 30
export const WIDEST_SPREAD = 2 ** 30
/** Starts of the embedded store that are told apart, those since whose cursors are too old not counted: a row of two numbers each. */
export const MAX_FENCES = 1000
/** Earlier epochs of the embedded store whose cursors are still known: each is a database that was put back. */
export const MAX_PAST_EPOCHS = 100
/** How long a cursor from an undone life stays in the recommendations: somebody has to look at what was restored. */
export const UNDONE_CALM_MS = 60 * 60_000

/** How long a commit waits for as many commands as lately came together. Less than a disk's own flush, and not felt beside a network. */
export const COMPANY_MS = 5

// Health. What fires at one figure clears at a lower one, and only after it has stayed there: a status that flaps is not read.

/** How long a rule's figure must stay below its lower threshold before the rule clears. */
export const CALM_MS = 30_000
/** The same for the store: whoever waits for it wants to know. */
export const STORE_CALM_MS = 10_000
/** How long what comes and goes with load must last before it is told. */
export const LASTING_MS = 10_000
/** How long nobody could be identified, though they tried, before it is told. */
export const SIGN_IN_FAILING_MS = 30_000
/** A failed attempt counts for this long: callers come back within half a minute, so after it nobody tries any more. */
export const SIGN_IN_MEMORY_MS = 2 * 60_000
/** Shares are taken of at least so many connections: three slow readers of ten are no sign of anything. */
export const MIN_POPULATION = 100
/** Silence of producers shorter than this is no news, whatever their habits. */
export const MIN_SILENCE_MS = 15 * 60_000
/** Room a store should have left: a commit, its log and a vacuum of what a busy hour brings … */
export const DISK_RESERVE_BYTES = 512 * 1024 * 1024
/** … or this share of a small disk. */
export const DISK_RESERVE_SHARE = 0.1
/** Acknowledgements within a minute that a median needs to mean something. */
export const MIN_ACKNOWLEDGEMENTS = 10

/** Lifetimes of streams, in whole seconds, that are compared: shorter ones are page views, longer ones no proxy's time-out. */
export const MIN_LIFETIME_S = 5
export const MAX_LIFETIME_S = 900
/** How long lifetimes are remembered, in two halves. */
export const LIFETIMES_MS = 10 * 60_000
/** Ends of equal lifetime within one second that count: a network that fails, or a page of tests, ends everything at once. */
export const LIFETIMES_A_SECOND = 5

/** An error code, or a producer, gets one line in the log within this time, and a count. */
export const LINE_EVERY_MS = 60_000

/** An alert is delivered at most once within this time. */
export const ALERT_EVERY_MS = 60_000
/** How long the receiver of an alert may take. */
export const ALERT_TIMEOUT_MS = 10_000
/** Pause after the first alert that failed, doubled each time up to the second figure. */
export const ALERT_RETRY_MS = [1_000, 60_000] as const
/** Names of users or topics that are remembered of a notification, or of a connection that ended: enough for a person to read. */
export const REMEMBERED_NAMES = 20

const MIB = 1024 * 1024

/**
 * What each memory that is keyed by something callers name or choose may take, in bytes (see `bounded-cache.ts`). Sizes are estimates
 * from above. All of them full leave a process with a heap of 256 MiB enough to work with.
 */
export const CACHE_BYTES = {
  /** Verified tokens, by digest: some 20,000 users with a few topics each. */
  tokens: 16 * MIB,
  /** Answers of the session look-up, by digest: as many. */
  sessions: 16 * MIB,
  /** Refusals of the session look-up, by digest, for two seconds: some 2,000 of them. */
  sessionRefusals: 1 * MIB,
  /** Requests of each caller within the window of a rate limit, for each kind of limit: some 30,000 callers a minute. */
  rates: 8 * MIB,
  /** What became of the newest notifications, for traces: some 20,000 of them. */
  sightings: 16 * MIB,
  /** Who read what on connections that ended, for traces: some 20,000 of them. */
  departures: 16 * MIB,
  /** Users whose access was revoked within the last minute: some 20,000 of them. */
  revocations: 8 * MIB,
  /** Kinds of lines in the log, each at most once a minute. */
  lines: 2 * MIB
} as const

/** A message from a WebSocket client. None means anything; this is enough for what libraries send to keep a connection open. */
export const MAX_CLIENT_MESSAGE_BYTES = 4 * 1024
/** How long a WebSocket peer may take to answer a Close: some round trips, and less than a stopping process has left. */
export const CLOSE_ANSWER_MS = 3_000

/** A command to Redis takes no longer, connecting included: a publish that hangs is worse than one that is told to come again. */
export const REDIS_COMMAND_TIMEOUT_MS = 2_000
/** A connection on which commands wait and nothing comes for so long is given up: its peer vanished. Above a command's own time. */
export const REDIS_SOCKET_TIMEOUT_MS = 5_000
/** Longest pause before Redis is called again: streams must have caught up within five seconds of its return. */
export const REDIS_RECONNECT_MS = 1_000
/** Between two questions to a Cluster where its slots are: a fail-over takes longer. */
export const REDIS_REFRESH_MS = 250
/** How often the log in Redis is read without a bell: a bell that was lost delays nobody by more. */
export const REDIS_POLL_MS = 1_000
/** How long a write waits for `REDIS_WAIT_REPLICAS`; together with the write it stays below a command's time. */
export const REDIS_REPLICA_TIMEOUT_MS = 1_000
/** Entries of one call of the publishing script: Redis does nothing else meanwhile, for about five milliseconds. */
export const REDIS_CALL_LIMIT = { entries: 256, bytes: 1024 * 1024 } as const
/** Entries that a process appends to Redis ahead of what it has followed: its next publish is answered only when it has followed them. */
export const REDIS_AHEAD_ENTRIES = 256
/** How often Redis is asked for its size and its settings. */
export const REDIS_INSPECT_MS = 10_000
/** Least time between two sweeps: Redis' clock may be behind ours, and then has nothing due yet. */
export const REDIS_SWEEP_PAUSE_MS = 20

/** How often a node tells that it lives, and how it stands. */
export const BEAT_MS = 2_000
/** A node that has told nothing for so long is dead, and its users' places are free. Ten beats: a pause of the collector is no death. */
export const LEASE_MS = 20_000
/** What nobody renews any more is gone from Redis after this. */
export const CLUSTER_KEYS_MS = 10 * 60_000
/** How long the answers of other nodes are waited for: a revoked user's streams end within a second, counting included. */
export const ASK_MS = 500
/** How long the opening of a stream waits for the count of a user's places; its first bytes are due within a second. */
export const ACQUIRE_SLOT_MS = 300
/** Rows of `/monitor/connections` that one node sends another. */
export const MAX_ANSWER_ROWS = 5_000
/** JSON of one node's answer to another: thirty may answer at once before Redis cuts the one that asked (32 MB may wait for it). */
export const MAX_ANSWER_BYTES = 1024 * 1024
/** Users whose places Redis may not have heard of; if there are more, all are told again. */
export const MAX_UNSURE_USERS = 10_000
/** Connections of one user in an answer about a trace. */
export const MAX_ANSWER_READINGS = 200
/** Users whose places are told in one command when a node tells all of them again. */
export const SLOTS_SLICE = 500

// Sockets that carry no stream.

/**
 * What a caller may still send after its answer, and for how long: a full batch and some more, at the pace of a slow network. A
 * proxy that is still writing when the connection is reset reports a dead node instead of our answer.
 */
export const LINGER_BYTES = 20 * 1024 * 1024
export const LINGER_MS = 5_000
/** Sockets that linger at once: a third of {@link RESERVED_FILES}. Beyond it the oldest is cut; its answer has been sent. */
export const MAX_LINGERING = 64

/** The head of a request: room for a cookie of a framework, a JWT and a list of topics together; Node's own 16 KiB are not. */
export const MAX_HEAD_BYTES = 32 * 1024
/** How long a head, and a whole request, may take to arrive. A slow phone needs seconds; beyond it nobody is waiting any more. */
export const HEAD_MS = 15_000
export const REQUEST_MS = 25_000
/** How often those deadlines are looked at; a request is refused at most so much before them, and never after. */
export const REQUEST_CHECK_MS = 500

/**
 * Answers that their peers have not taken, and requests that wait for the answer before them. Beyond it the connection that has waited
 * longest is cut: a heap of 256 MiB holds as much beside everything else.
 */
export const MAX_UNTAKEN_BYTES = 64 * 1024 * 1024
/** What a request costs that waits for the answer before it: its head, and the objects about it. */
export const WAITING_REQUEST_BYTES = 8 * 1024

/** Of {@link RESERVED_FILES}, those that sockets without a stream may always have. */
export const RESERVED_SOCKETS = 90
/**
 * Sockets that carry no stream: idle connections of producers and pages, and heads on their way. A head of 32 KiB in many small
 * fields takes 80 KB until it is whole; together they stay well below a heap of 256 MB.
 */
export const MAX_ORDINARY_SOCKETS = 2_000
/** Sockets with a request in hand that are passed over in the search for one that is idle. */
export const MAX_LOOKS = 64
