import { z } from 'zod'
import { BoundedCache, textBytes, textsBytes } from '../core/bounded-cache.ts'
import { MAX_ENTRIES, MAX_INSTANT } from '../core/limits.ts'
import { TopicGrant, UserName } from '../core/names.ts'
import type { Store } from '../core/store.ts'
import type { Subscriber } from '../core/subscriber.ts'
import { digest } from './digest.ts'
import { asking, unauthenticated, unavailable } from './refusal.ts'

const TIMEOUT_MS = 2_000
/** Longest an answer is believed, counted from the question. */
const CACHE_MS = 10_000
/** An answer names a user and topics; more than this is not one. */
const MAX_ANSWER_BYTES = 64 * 1024
/** Revocations that may come in between before we give up. */
const ATTEMPTS = 3

const Answer = z.object({
  user: UserName,
  topics: z.array(TopicGrant).max(MAX_ENTRIES.grants).nullish(),
  expiresAt: z.iso.datetime({ offset: true }).nullish()
})

/** What the caller came with; nothing else of the request is passed on. */
export interface SessionCredentials {
  readonly cookie?: string | undefined
  readonly authorization?: string | undefined
}

interface LookUp {
  /** Milliseconds since 1970, to hold against a revocation. */
  readonly startedAt: number
  /** Monotonic milliseconds, to tell whether it began after we knew of one. */
  readonly begun: number
  readonly subscriber: Promise<Subscriber>
  /** What it found; undefined while it is under way. */
  found: Subscriber | undefined
}

/** Asks the application who its session belongs to. One question at a time for each credential; yes is remembered, no is not. */
export function createSessionLookUp(
  url: string,
  store: Pick<Store, 'revokedAt'>
): (credentials: SessionCredentials) => Promise<Subscriber> {
  const lookUps = new BoundedCache<LookUp>('sessions', {
    ttlMs: CACHE_MS,
    sizeOf: ({ found }) => 300 + (found === undefined ? 0 : textBytes(found.user) + textsBytes(found.topics))
  })

  const begin = (key: string, credentials: SessionCredentials): LookUp => {
    const startedAt = Date.now()
    const lookUp: LookUp = { startedAt, begun: performance.now(), subscriber: ask(url, credentials), found: undefined }
    lookUps.set(key, lookUp)
    lookUp.subscriber.then(
      (subscriber) => {
        lookUp.found = subscriber
        // Its size is known only now.
        if (lookUps.get(key) === lookUp) lookUps.set(key, lookUp, startedAt + CACHE_MS - Date.now())
      },
      () => forget(key, lookUp)
    )
    return lookUp
  }
  const forget = (key: string, lookUp: LookUp): void => {
    if (lookUps.get(key) === lookUp) lookUps.delete(key)
  }

  return async (credentials) => {
    const key = digest(credentials.cookie ?? '', credentials.authorization ?? '')
    let known: { revokedAt: number; readAt: number } | undefined
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const remembered = lookUps.get(key)
      const lookUp = remembered ?? begin(key, credentials)
      const subscriber = await lookUp.subscriber
      if (subscriber.expiresAt !== undefined && subscriber.expiresAt <= Date.now()) {
        forget(key, lookUp)
        // A session that was used may have been prolonged: only a fresh answer counts.
        if (remembered) continue
        throw unauthenticated('The session has expired: log in again.')
      }
      const readAt = performance.now()
      const revokedAt = await asking(store.revokedAt(subscriber.user))
      // Either the clock says so, or we had read this very revocation before we asked: clocks of nodes differ.
      if (lookUp.startedAt > revokedAt || (known?.revokedAt === revokedAt && lookUp.begun >= known.readAt)) return subscriber
      known = { revokedAt, readAt }
      forget(key, lookUp)
    }
    throw unavailable('The session changed while it was looked up: try again.')
  }
}

async function ask(url: string, { cookie, authorization }: SessionCredentials): Promise<Subscriber> {
  try {
    const response = await fetch(url, {
      headers: {
        accept: 'application/json',
        ...(cookie === undefined ? {} : { cookie }),
        ...(authorization === undefined ? {} : { authorization })
      },
      // A log-in page is no answer, and another host must not get the credential.
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS)
    })
    if (response.status === 200) return toSubscriber(await readBounded(response))
    response.body?.cancel().catch(() => {})
    if (response.status !== 401 && response.status !== 403) throw new Error(`the session look-up answered ${response.status}`)
  } catch (error) {
    throw unavailable('The session cannot be looked up at the moment: try again.', error)
  }
  throw unauthenticated('The session is not valid: log in again.')
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  // Leaving the loop by an error cancels what is still to come.
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength
    if (size > MAX_ANSWER_BYTES) throw new Error('the answer of the session look-up is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function toSubscriber(text: string): Subscriber {
  const { success, data } = Answer.safeParse(parseJson(text))
  // Without the parser's words, which may quote the answer.
  if (!success) throw new Error('the session look-up answered 200 with something else than {"user","topics","expiresAt"}')
  const { user, topics, expiresAt } = data
  return { user, topics: topics ?? [], ...(expiresAt ? { expiresAt: Math.min(Date.parse(expiresAt), MAX_INSTANT) } : {}) }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
