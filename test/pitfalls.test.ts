import { existsSync, readFileSync } from 'node:fs'
import { test } from 'tap'

/** Held by a test that fails without the cure, or why it cannot happen here. */
type Held =
  | { readonly name: string; readonly test: string }
  | { readonly name: string; readonly cannot: string }

const fileOf = (test: string): string =>
  [`test/${test}.test.ts`, `test/${test}.slow.ts`].find((file) => existsSync(file)) ?? test
const held = (test: string) => (about: string, name: string) =>
  [about, { test: fileOf(test), name }] as const
const cannot = (about: string, why: string) => [about, { name: about, cannot: why }] as const
const lives = held('delivery/connection')
const sockets = held('service/sockets')
const clocks = held('service/clocks')
const limits = held('service/limits')
const shutdown = held('service/shutdown')
const doors = held('service/doors')
const spine = held('service/spine')
const infrastructure = held('service/infrastructure')
const hub = held('delivery/hub')
const errors = held('plugins/problems')
const inbox = held('plugins/inbox')
const publish = held('plugins/publish')
const session = held('auth/session-lookup')
const commandLine = held('service/command-line')
const files = held('stores/sqlite-files')
const redis = held('service/redis')
const redisLoss = held('stores/redis-loss')

const RANDOM_LIVES =
  '5,000 random lives: nothing is written after the end, closed once, events in order and exactly once'
const LEAVING = 'clients that leave during authentication, or at once, leave no connection behind'
const HEADERS = 'a stream carries every header that other routes carry, and is cached nowhere'
const FROZEN = 'a frozen reader is cut off as slow while its neighbour gets everything, in order'
const VANISHED = 'clients that vanished without a FIN are found and closed; live ones stay open'
const FILES =
  'streams stop below the open-file limit, so the rest of the service can still open files'
const QUIET =
  'an idle stream gets a named heartbeat every interval, and its cursor moves past other users’ events'
const FAR = 'a lifetime beyond the longest timer does not end the stream at once'
const STALL = 'after the process itself stalls, no client is closed as slow'
const ENDS = 'limits, revocation and expiry end streams with the documented goodbye'
const SIGTERM =
  'SIGTERM turns readiness off at once, gives every stream a retry time, and exits 0 in time'
const KILLED = 'kill -9 in the middle of a burst loses no acknowledged event and repeats none'
const TRUNCATED = 'a torn WAL opens, and an old copy or a missing proof is a new life'
const NARROWER =
  'a reconnect with fewer topics reads fewer, and a forbidden topic reveals nothing about its use'
const NAMES =
  'names such as constructor and __proto__ are ordinary names, and no input breaks a log line'
const IN_FLIGHT =
  'at shutdown an in-flight request on a keep-alive connection is answered and then holds nothing up'
const SLOWLORIS = 'a slow request has a time limit for head and body; a stream has none'

/** What is known to go wrong with long-lived HTTP, by the ids we know it under. */
const PITFALLS = {
  // Sockets and node:http
  A1: lives('flags that still say writable after the end', RANDOM_LIVES),
  A2: infrastructure('a write to a peer that is gone succeeds', LEAVING),
  A3: lives('a write after end() kills the process where the reader is slow', RANDOM_LIVES),
  A4: lives('calls that throw in a timer', RANDOM_LIVES),
  A5: doors(
    'a close that came during an await',
    'a peer that leaves while the application is asked who it is opens nothing'
  ),
  A6: sockets(
    'the close event of the wrong object',
    'a peer that closes its side only, or leaves a waiting poll, is gone at once'
  ),
  A7: infrastructure(
    'pipelined streams leak',
    'pipelined stream requests on one socket leave no connection behind'
  ),
  A8: sockets(
    'a paused socket does not hear a FIN',
    'of 2,000 pipelined streams only the first opens, and its end is noticed'
  ),
  A9: held('service/stale-peer')('peers that vanish without a word', VANISHED),
  A10: held('service/stale-peer')('keep-alive does not probe under heartbeats', VANISHED),
  A11: spine('a timeout of the socket is a measure of writing, not of reading', FROZEN),
  A12: sockets(
    'a half-closed connection',
    'a peer that closes its side only, or leaves a waiting poll, is gone at once'
  ),
  A13: sockets(
    'timeouts of requests that end running streams',
    'bytes sent after a stream request neither end the stream nor are answered in it'
  ),
  A14: limits('streams take all file descriptors', FILES),
  A15: limits('a cap on sockets locks out the health check', FILES),
  A16: sockets(
    'HTTP/1.0: the end of a body says nothing',
    'HTTP/1.0 gets unchunked frames, and a poll with Content-Length'
  ),
  A17: cannot('HTTP/2 in Node', 'the service speaks HTTP/1.1 only; HTTP/2 is the proxy’s'),
  A18: lives(
    'a wait for drain that never comes',
    'a replay that waits for its reader ends when the reader goes'
  ),
  A19: spine('one dead reader that everybody waits for', FROZEN),
  A20: clocks('clients that cut a silent body', QUIET),
  // Fastify
  B1: spine('close() waits for streams', SIGTERM),
  B2: shutdown('close() waits for a kept-alive connection', IN_FLIGHT),
  B3: shutdown('close() cuts requests in flight', IN_FLIGHT),
  B4: sockets('hijack() drops headers', HEADERS),
  B5: infrastructure('hooks that do not run for a hijacked reply', LEAVING),
  B6: sockets(
    'HEAD runs the handler of a stream',
    'HEAD on every GET route is answered at once and opens no connection'
  ),
  B7: hub(
    'a throw after hijack() leaves a stream without an end',
    'a store that fails ends the stream that asked it, with a time to come back'
  ),
  B8: cannot(
    'inject() never resolves on a stream',
    'streams are tested over real sockets; see the last test here'
  ),
  B9: commandLine('the access log has the query', 'no secret reaches a log line'),
  B10: errors(
    'bodies that are nested, poisoned or of another type',
    'JSON that is nested deep is refused, and nothing overflows'
  ),
  B11: session(
    'who asks an application before hijack() waits for it',
    'an application that is slow, endless or gone is trouble after two seconds'
  ),
  B12: sockets('an answer is sent twice', HEADERS),
  // Heartbeats and timers
  C1: lives('a heartbeat is written to the closed, and its catch throws again', RANDOM_LIVES),
  C2: held('delivery/heartbeat-manager')(
    'a timer for each connection',
    'members that come together beat apart: the first at a random moment of the interval, then once an interval'
  ),
  C3: clocks('comments are no heartbeat that a page can hear', QUIET),
  C4: clocks('a heartbeat that is later than it says', QUIET),
  C5: redis(
    'heartbeats go on while the feed is dead',
    'while Redis is down the process keeps serving, reports it, never hangs, and recovers'
  ),
  C6: clocks('our own stall is taken for dead peers', STALL),
  C7: clocks('timers overflow', FAR),
  C8: clocks('a stream that is idle for what is filtered out', QUIET),
  C9: clocks('a cursor that stands still falls out of retention', QUIET),
  // Back-pressure and memory
  D1: lives(
    'an endless queue for each reader',
    'a reader that never takes anything is cut off at its budget'
  ),
  D2: limits(
    'end() does not end a stalled peer',
    'a stalled client that is closed is disconnected even if it never reads the goodbye'
  ),
  D3: limits(
    'cut off, back, replayed, cut off again',
    'a replay far larger than the buffer limit follows a slow reader’s pace and does not close it'
  ),
  D4: infrastructure(
    'a proxy that buffers hides the slow reader',
    'behind nginx defaults (HTTP/1.0 upstream, buffering on) frames arrive at once'
  ),
  D5: hub(
    'an event is encoded for each reader',
    'an event is encoded once, and its readers share the bytes'
  ),
  D6: lives(
    'a replay takes the whole history into memory',
    'a long replay is read page by page, the next one once the reader took the last'
  ),
  D7: sockets(
    'listeners pile up',
    'repeated polls on one socket, and many streams, leave no listener behind'
  ),
  // Credentials
  G1: spine('the credential ends, the stream goes on', ENDS),
  G2: spine('a revocation that open streams do not hear', ENDS),
  G3: spine('a browser that comes back with what has expired', ENDS),
  G4: doors('a replay of what may not be read any more', NARROWER),
  G5: doors(
    'trouble behind us is told as a refusal',
    'if the session lookup fails, a stream gets a retry time and other requests get 503'
  ),
  // Deploys
  H1: shutdown(
    'all come back at once',
    'draining closes streams one after another, each with its own retry time'
  ),
  H2: spine('SIGTERM is not heard', SIGTERM),
  H3: spine('closed before the balancer knows', SIGTERM),
  H4: shutdown(
    'all streams on the old nodes',
    'streams opened together reach their maximum age at different times'
  ),
  H5: limits('readiness that depends on the number of streams', FILES),
  H6: files(
    'a crash loop over a bad file',
    'files that are not ours, not whole, or newer are refused'
  ),
  // The store
  I1: spine('acknowledged before it is durable', KILLED),
  I2: files('a torn tail', TRUNCATED),
  I3: files('a full disk', 'a full disk refuses, and takes again when there is room'),
  I4: redisLoss('announcements are lost', 'bells that are lost delay, and lose nothing'),
  I5: redisLoss(
    'a fail-over loses what was acknowledged and uses ids again',
    'a fail-over to a replica that lags: everybody hears it, and no place is used twice'
  ),
  I6: redisLoss('nothing is persisted by default', 'settings that lose notifications are told'),
  I7: redis(
    'a store that is down makes publishing hang',
    'while Redis is down the process keeps serving, reports it, never hangs, and recovers'
  ),
  I8: hub('two orders on two streams', 'all streams of a user have one order, whoever publishes'),
  I9: lives(
    'the seam between replay and live',
    'whatever happens on the way, a life that settles has had every event, and its cursor is the head'
  ),
  I10: hub(
    'a second tab takes the place of the first',
    'tabs of one user are connections of their own: one that goes takes no other with it'
  ),
  I11: publish(
    'a message that cannot be encoded',
    'half of a surrogate pair, and a number too large, are refused wherever they stand'
  ),
  I12: publish(
    'published twice after a lost answer',
    'the same idempotency key and body are accepted once, also both at once'
  ),
  // Clocks
  J1: clocks(
    'liveness by the wall clock',
    'moving the wall clock ends no stream and stops no heartbeat'
  ),
  J2: publish(
    'ids from the time',
    'ids grow, within a millisecond and after the clock was set back'
  ),
  J3: held('auth/jwt')(
    'the clocks of issuers',
    'exp counts to the millisecond; nbf and iat may be a minute ahead, for clocks differ'
  ),
  J4: clocks('expiries beyond the reach of a timer', FAR),
  // Attacks
  K1: infrastructure('frames forged by line ends', 'independent clients receive the same events'),
  K2: inbox(
    'a change asked for by another site',
    'a cookie marks only from pages of ours, and only as JSON'
  ),
  K3: sockets('any origin is let in', HEADERS),
  K4: sockets('answers in a shared cache', HEADERS),
  K5: held('app')('requests that never end to arrive', SLOWLORIS),
  K6: limits(
    'limits that a header evades',
    'a client that forges X-Forwarded-For is counted by its real address'
  ),
  K7: held('auth/keyring')(
    'a comparison that throws or tells by its time',
    'anything else is nobody, at any length, and never throws'
  ),
  K8: commandLine('credentials in an address', 'no secret reaches a log line'),
  K9: doors('an answer that tells what exists', NARROWER),
  K10: doors('names that are properties of every object', NAMES),
  K11: doors('bodies that inflate', 'a compressed request body is refused, not inflated'),
  K12: doors('forged lines in the log', NAMES),
  K13: doors(
    'script in what people wrote',
    'the demo page runs only its own scripts and renders user input as text'
  ),
  K14: cannot(
    'patterns that take for ever',
    'no pattern of a user is a regular expression: a grant is a name or a prefix'
  ),
  K15: spine(
    'cursors that are anything',
    'a cursor that cannot be resumed gets a reset with the reason'
  )
} as const

/** What cannot go wrong yet, with the part that brings it: to be moved above together with that part. */
const later = {
  I13: ['a dead node stays in the list', 'Redis store: several nodes']
} as const satisfies Record<string, readonly [about: string, part: string]>

/** How many there are under each letter; those of proxies and browsers are theirs. */
const LISTED = { A: 20, B: 12, C: 9, D: 7, G: 5, H: 6, I: 13, J: 4, K: 15 } as const

test('every pitfall is held by a test, cannot happen, or waits for its part', async (t) => {
  const ids = Object.entries(LISTED).flatMap(([letter, count]) =>
    Array.from({ length: count }, (_, n) => `${letter}${n + 1}`)
  )
  t.strictSame([...Object.keys(PITFALLS), ...Object.keys(later)].sort(), ids.sort())
  const sources = new Map<string, string>()
  for (const [id, [about, how]] of Object.entries<readonly [string, Held]>(PITFALLS)) {
    if ('cannot' in how) {
      t.ok(how.cannot.length > 20, `${id} ${about}: ${how.cannot}`)
      continue
    }
    const source = sources.get(how.test) ?? readFileSync(how.test, 'utf8')
    sources.set(how.test, source)
    // As the title of a test, up to what a loop may add to it.
    const title = [`'${how.name}'`, `\`${how.name}\``, `\`${how.name} (`].some((text) =>
      source.includes(text)
    )
    t.ok(title, `${id} ${about}: ${how.test} has “${how.name}”`)
  }
})

test('no test asks a stream without a socket', async (t) => {
  for (const { 1: how } of Object.values<readonly [string, Held]>(PITFALLS))
    if ('test' in how) t.notMatch(readFileSync(how.test, 'utf8'), /\.inject\(/)
})
