import { z } from 'zod'
import { BoundedCache, textBytes, textsBytes } from '../bounds/bounded-cache.ts'
import {
  LOOK_UP_MS,
  LOOK_UP_NO_MS,
  LOOK_UP_YES_MS,
  MAX_ENTRIES,
  MAX_INSTANT,
  MAX_LOOK_UP_BYTES,
  MAX_LOOK_UPS
} from '../bounds/limits.ts'
import { OutsideError, OutsideServer } from '../bounds/outside-request.ts'
import { TopicGrant, UserName } from '../log/names.ts'
import type { Credentials } from '../log/store.ts'
import type { Subscriber } from '../log/subscriber.ts'
import { AuthError, asking, denied, unavailable } from './auth-error.ts'
import { digest } from './digest.ts'
import type { SignInObserver } from './sign-in-observer.ts'

const SETTING = 'AUTH_SESSION_URL'
/** How often a look-up is repeated because a revocation came in between. */
const ATTEMPTS = 3
/** Frameworks redirect callers who are not signed in to a login page. */
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null
const idOf = (user: unknown): unknown => (isObject(user) ? user['id'] : user)
const asName = (id: unknown): unknown =>
  typeof id === 'number' && Number.isSafeInteger(id) && id >= 0
    ? String(id)
    : typeof id === 'string'
      ? id
      : ''
const Instant = z.iso.datetime({ offset: true })
/** An expiry time in a framework's own answer; a value that is not a string has another meaning. */
const theirInstant = z.preprocess(
  (value) => (typeof value === 'string' ? value : undefined),
  Instant.optional()
)

/**
 * What the application answers: in our form, or in that of Auth.js (`user.id`, `expires`) or
 * better-auth (`user.id`, `session.expiresAt`).
 */
const Answer = z.object({
  user: z.preprocess((user) => asName(idOf(user)), UserName),
  topics: z.array(TopicGrant).max(MAX_ENTRIES.grants).nullish(),
  expiresAt: Instant.nullish(),
  expires: theirInstant,
  session: z.preprocess(
    (session) => (isObject(session) ? session : undefined),
    z.object({ expiresAt: theirInstant }).optional()
  )
})

/** The caller's headers; nothing else of the request is forwarded to the application. */
export interface SessionCredentials {
  readonly cookie?: string | undefined
  readonly authorization?: string | undefined
}

/** Where sessions are looked up, and who is notified of the outcome. */
export interface SessionLookUpOptions {
  /** AUTH_SESSION_URL. */
  readonly url: string
  readonly store: Pick<Credentials, 'revokedAt'>
  readonly observer: Pick<SignInObserver, 'failed' | 'answered'>
}

/** A session of a user. Its age decides whether a revocation applies to it. */
interface Found {
  /** When the application was asked, milliseconds since 1970. */
  readonly startedAt: number
  /** The same in monotonic milliseconds, to tell whether we knew of a revocation by then. */
  readonly monotonicStart: number
  readonly subscriber: Subscriber
}

/** A rejection. */
interface Refused {
  readonly kind: 'denied' | 'forbidden'
  readonly detail: string
}

/**
 * Asks the application which user a session belongs to. Concurrent calls with the same credentials
 * share one request, whose result is cached for a few seconds.
 */
export class SessionLookUp {
  readonly #store: SessionLookUpOptions['store']
  readonly #observer: SessionLookUpOptions['observer']
  readonly #server: OutsideServer
  /** Requests in flight or waiting; `OutsideServer` bounds their number. */
  readonly #underWay = new Map<string, Promise<Found | Refused>>()
  readonly #found = new BoundedCache<Found>('sessions', {
    sizeOf: ({ subscriber }) => 300 + textBytes(subscriber.user) + textsBytes(subscriber.topics)
  })
  // A cache of its own, so that invented credentials cannot evict those of users.
  readonly #refused = new BoundedCache<Refused>('sessionRefusals', {
    sizeOf: ({ detail }) => 100 + textBytes(detail),
    ttlMs: LOOK_UP_NO_MS,
    keep: 'newest'
  })

  constructor({ url, store, observer }: SessionLookUpOptions) {
    this.#store = store
    this.#observer = observer
    this.#server = new OutsideServer({
      setting: SETTING,
      url,
      timeoutMs: LOOK_UP_MS,
      maxBytes: MAX_LOOK_UP_BYTES,
      maxConcurrent: MAX_LOOK_UPS
    })
  }

  /** Rejects with an {@link AuthError}. */
  async identify(credentials: SessionCredentials): Promise<Subscriber> {
    const key = digest(credentials.cookie ?? '', credentials.authorization ?? '')
    let known: { revokedAt: number; readAt: number } | undefined
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const remembered = this.#found.get(key) ?? this.#refused.get(key)
      const answer =
        remembered ?? (await (this.#underWay.get(key) ?? this.#begin(key, credentials)))
      if ('kind' in answer) throw new AuthError(answer.kind, answer.detail)
      const { subscriber } = answer
      if (subscriber.expiresAt !== undefined && subscriber.expiresAt <= Date.now()) {
        this.#forget(key, answer)
        // The application may have extended the session since: ask again.
        if (remembered) continue
        throw denied('The session has expired: log in again.')
      }
      const readAt = performance.now()
      const revokedAt = await asking(this.#store.revokedAt(subscriber.user))
      // The answer is newer than the revocation if the clock says so, or, because the clocks of
      // nodes differ, if we had read the same revocation before we asked.
      if (
        answer.startedAt > revokedAt ||
        (known?.revokedAt === revokedAt && answer.monotonicStart >= known.readAt)
      )
        return subscriber
      known = { revokedAt, readAt }
      this.#forget(key, answer)
    }
    throw unavailable('The user was revoked during the session look-up: try again.')
  }

  close(): void {
    this.#server.close()
  }

  #begin(key: string, credentials: SessionCredentials): Promise<Found | Refused> {
    const asked = this.#ask(key, credentials)
    this.#underWay.set(key, asked)
    return asked
  }

  async #ask(key: string, credentials: SessionCredentials): Promise<Found | Refused> {
    const startedAt = Date.now()
    const monotonicStart = performance.now()
    try {
      const answer = await question(this.#server, credentials)
      if ('kind' in answer) {
        this.#refused.set(key, answer)
        // The caller cannot mend a name that breaks the rules: the operator must see it.
        if (answer.kind === 'forbidden') this.#observer.failed(this.#server.error(answer.detail))
        else this.#observer.answered(SETTING)
        return answer
      }
      this.#observer.answered(SETTING)
      const yes = { startedAt, monotonicStart, subscriber: answer }
      this.#found.set(key, yes, monotonicStart + LOOK_UP_YES_MS - performance.now())
      return yes
    } catch (error) {
      if (!(error instanceof OutsideError)) throw error
      this.#observer.failed(error)
      throw unavailable('The session look-up is not available: try again.', error)
    } finally {
      this.#underWay.delete(key)
    }
  }

  #forget(key: string, answer: Found): void {
    if (this.#found.get(key) === answer) this.#found.delete(key)
  }
}

/** Asks the application once. Rejects with an {@link OutsideError} if its answer is not usable. */
async function question(
  server: OutsideServer,
  { cookie, authorization }: SessionCredentials
): Promise<Subscriber | Refused> {
  const { status, headers, body } = await server.ask({
    headers: {
      accept: 'application/json',
      ...(cookie === undefined ? {} : { cookie }),
      ...(authorization === undefined ? {} : { authorization })
    }
  })
  if (status === 401 || status === 403) return notSignedIn(`with ${status}`)
  // A redirect leads to a login page. It is not followed: another host must not get the credential.
  if (REDIRECTS.has(status)) return notSignedIn(`with a redirect (${status})`)
  if (status !== 200) throw server.error(`it answered ${status}`)
  let answer: unknown
  try {
    answer = JSON.parse(body)
  } catch {
    // The parser's own message may quote the answer.
    throw server.error(
      `it answered 200 with something other than JSON (${headers['content-type'] ?? 'no content type'})`
    )
  }
  if (answer === null || (isObject(answer) && (answer['user'] ?? null) === null))
    return notSignedIn('without a user')
  return toSubscriber(server, answer)
}

const notSignedIn = (how: string): Refused => ({
  kind: 'denied',
  detail: `The session look-up answered ${how}: not signed in. Log in again.`
})

function toSubscriber(server: OutsideServer, answer: unknown): Subscriber | Refused {
  const { success, data, error } = Answer.safeParse(answer)
  if (!success) {
    const { path, message } = error.issues[0]!
    const member = path.join('.')
    // A name that breaks the rules stays rejected: this is not an outage.
    if (path[0] === 'user' || (path[0] === 'topics' && path.length > 1))
      return {
        kind: 'forbidden',
        detail: `The session look-up answered with a name that is not valid: ${member} ${message}.`
      }
    throw server.error(
      `it answered 200 with something other than {"user","topics","expiresAt"}: ${member === '' ? 'the answer' : member}: ${message}`
    )
  }
  const { user, topics, expiresAt, expires, session } = data
  const ends = [expiresAt, expires, session?.expiresAt].flatMap((instant) =>
    instant ? [Date.parse(instant)] : []
  )
  return {
    user,
    topics: topics ?? [],
    ...(ends.length > 0 ? { expiresAt: Math.min(...ends, MAX_INSTANT) } : {})
  }
}
