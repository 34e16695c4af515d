import {
  createRemoteJWKSet,
  customFetch,
  errors,
  type JWTVerifyGetKey,
  type RemoteJWKSet
} from 'jose'
import {
  KEY_SET_COOLDOWN_MS,
  KEY_SET_KEEP_MS,
  KEY_SET_MAX_AGE_MS,
  KEY_SET_REFRESH_MS,
  KEY_SET_RETRY_MS,
  KEY_SET_TIMEOUT_MS,
  MAX_KEY_SET_BYTES
} from '../bounds/limits.ts'
import { OutsideError, OutsideServer } from '../bounds/outside-request.ts'
import type { SignInObserver } from '../monitoring/sign-ins.ts'

/** Members that a public key of each kind must have (RFC 7518, 6; RFC 8037, 2). */
const REQUIRED: Readonly<Record<string, readonly string[]>> = {
  RSA: ['n', 'e'],
  EC: ['crv', 'x', 'y'],
  OKP: ['crv', 'x']
}

/** Whether a key of a set has what it takes to verify a signature. */
const isVerifying = (key: Readonly<Record<string, unknown>>): boolean =>
  key['use'] !== 'enc' &&
  (REQUIRED[String(key['kty'])]?.every((name) => typeof key[name] === 'string') ?? false)

/** The key set cannot be had; says nothing about the token. */
export class KeySetError extends Error {
  declare readonly cause: OutsideError
}

/**
 * The key set of an issuer. It is fetched at the start and again well before it is too old, so that
 * only a token whose key is unknown waits for the issuer. While the issuer cannot be reached, the keys
 * that were fetched stay good for a day.
 */
export class KeySet {
  readonly #server: OutsideServer
  readonly #remote: RemoteJWKSet
  readonly #observer: Pick<SignInObserver, 'keySetAway' | 'keySetBack' | 'answered'>
  /** When it was last fetched, milliseconds since 1970: a machine that was suspended has old keys. */
  #fetchedAt: number | undefined
  /** Why the last fetch failed, and the monotonic time before which it is not repeated; undefined after a success. */
  #failure: { readonly error: OutsideError; readonly until: number } | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(
    url: string,
    observer: Pick<SignInObserver, 'keySetAway' | 'keySetBack' | 'answered'>
  ) {
    this.#server = new OutsideServer({
      setting: 'AUTH_JWKS_URL',
      url,
      timeoutMs: KEY_SET_TIMEOUT_MS,
      maxBytes: MAX_KEY_SET_BYTES,
      maxConcurrent: 1
    })
    this.#observer = observer
    this.#remote = createRemoteJWKSet(new URL(url), {
      // The deadline is ours, and so is the age: to the library a set is never too old, so that it goes on with the one it has.
      timeoutDuration: 2 * KEY_SET_TIMEOUT_MS,
      cacheMaxAge: Number.POSITIVE_INFINITY,
      cooldownDuration: KEY_SET_COOLDOWN_MS,
      [customFetch]: () => this.#fetch()
    })
    void this.#refresh()
  }

  /** Finds the key for a token; a key resolver for jose. Rejects with a {@link KeySetError} if nobody can tell. */
  readonly key: JWTVerifyGetKey = async (...args) => {
    // Too old only if the machine was suspended, since the timer is ahead of it. What is known to fail holds up nobody.
    if (this.#isOlderThan(KEY_SET_MAX_AGE_MS) && !this.#failure) await this.#refresh()
    if (this.#isOlderThan(KEY_SET_KEEP_MS)) {
      await this.#refresh()
      if (this.#failure) throw this.#unknown(this.#failure.error)
    }
    try {
      return await this.#remote(...args)
    } catch (error) {
      if (
        error instanceof errors.JWKSNoMatchingKey ||
        error instanceof errors.JWKSMultipleMatchingKeys
      )
        throw error
      if (error instanceof errors.JOSENotSupported) throw error
      throw this.#unknown(error)
    }
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#server.close()
  }

  #isOlderThan(ms: number): boolean {
    return this.#fetchedAt !== undefined && Date.now() - this.#fetchedAt > ms
  }

  #unknown(error: unknown): KeySetError {
    const cause =
      error instanceof OutsideError
        ? error
        : this.#server.error(`its key set cannot be used: ${(error as Error).message}`)
    return new KeySetError('the key set cannot be had', { cause })
  }

  async #refresh(): Promise<void> {
    // It has told what went wrong.
    await this.#remote.reload().catch(() => {})
  }

  #schedule(ms: number): void {
    clearTimeout(this.#timer)
    if (this.#closed) return
    // Nodes that started together need not ask together.
    this.#timer = setTimeout(() => void this.#refresh(), ms * (0.8 + Math.random() * 0.2))
    this.#timer.unref()
  }

  /** Fetches for the library, which makes one call at a time and keeps what it got last if this one fails. */
  async #fetch(): Promise<Response> {
    // Made-up key ids must not make us knock at a failing issuer without pause.
    if (this.#failure && performance.now() < this.#failure.until) throw this.#failure.error
    try {
      const keys = await this.#ask()
      this.#fetchedAt = Date.now()
      this.#failure = undefined
      this.#observer.keySetBack()
      this.#observer.answered('AUTH_JWKS_URL')
      this.#schedule(KEY_SET_REFRESH_MS)
      return Response.json(keys)
    } catch (error) {
      if (!(error instanceof OutsideError)) throw error
      this.#failure = { error, until: performance.now() + KEY_SET_COOLDOWN_MS }
      const fetchedAt = this.#fetchedAt
      this.#observer.keySetAway(
        error,
        fetchedAt,
        fetchedAt === undefined ? undefined : fetchedAt + KEY_SET_KEEP_MS
      )
      this.#schedule(KEY_SET_RETRY_MS)
      throw error
    }
  }

  async #ask(): Promise<unknown> {
    const { status, headers, body } = await this.#server.ask({
      headers: { accept: 'application/json, application/jwk-set+json' }
    })
    if (status !== 200) throw this.#server.error(`it answered ${status} instead of a key set`)
    let answer: unknown
    try {
      answer = JSON.parse(body)
    } catch {
      const type = headers['content-type'] ?? 'no content type'
      throw this.#server.error(
        `it answered with something other than JSON (${type}) instead of a key set`
      )
    }
    const { keys } = (answer ?? {}) as { keys?: unknown }
    if (!Array.isArray(keys) || !keys.every((key) => typeof key === 'object' && key !== null))
      throw this.#server.error('it answered with JSON that is not a key set, {"keys":[…]}')
    // An empty set withdraws all keys. One of keys that nobody can use is a mistake: the last ones are better.
    if (keys.length > 0 && !keys.some(isVerifying))
      throw this.#server.error('it answered with a key set that holds no key to verify tokens with')
    return answer
  }
}
