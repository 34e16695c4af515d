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
import type { SignInObserver } from './sign-in-observer.ts'

/** Members that a public key of each type must have (RFC 7518, 6; RFC 8037, 2). */
const REQUIRED: Readonly<Record<string, readonly string[]>> = {
  RSA: ['n', 'e'],
  EC: ['crv', 'x', 'y'],
  OKP: ['crv', 'x']
}

/** Whether a key can verify signatures. */
const isVerifying = (key: Readonly<Record<string, unknown>>): boolean =>
  key['use'] !== 'enc' &&
  (REQUIRED[String(key['kty'])]?.every((name) => typeof key[name] === 'string') ?? false)

/** The key set is not available, so the token could not be checked. */
export class KeySetError extends Error {
  declare readonly cause: OutsideError
}

/**
 * The key set of an issuer. It is fetched at the start and again well before it is too old, so that
 * only a token with an unknown key waits for the issuer. While the issuer is down, the keys of the
 * last fetch stay valid for a day.
 */
export class KeySet {
  readonly #server: OutsideServer
  readonly #remote: RemoteJWKSet
  readonly #observer: Pick<SignInObserver, 'keySetAway' | 'keySetBack' | 'answered'>
  /**
   * Time of the last successful fetch, milliseconds since 1970: unlike monotonic time it grows
   * while the machine is suspended.
   */
  #fetchedAt: number | undefined
  /**
   * Why the last fetch failed, and the monotonic time of the next retry; undefined after a success.
   */
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
      // We watch the timeout and the age: to the library a set never grows old, so that it keeps
      // using the last one.
      timeoutDuration: 2 * KEY_SET_TIMEOUT_MS,
      cacheMaxAge: Number.POSITIVE_INFINITY,
      cooldownDuration: KEY_SET_COOLDOWN_MS,
      [customFetch]: () => this.#fetch()
    })
    void this.#refresh()
  }

  /** Key resolver for jose: finds the key of a token. Rejects with a {@link KeySetError}. */
  readonly key: JWTVerifyGetKey = async (...args) => {
    // The timer refreshes earlier, so this happens only after the machine was suspended. If the
    // last fetch failed, the token does not wait for another.
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

  /** Stops fetching. */
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
        : this.#server.error(`its key set is not usable: ${(error as Error).message}`)
    return new KeySetError('the key set is not available', { cause })
  }

  async #refresh(): Promise<void> {
    // #fetch has reported the error.
    await this.#remote.reload().catch(() => {})
  }

  #schedule(ms: number): void {
    clearTimeout(this.#timer)
    if (this.#closed) return
    // The delay varies, so that nodes that started together do not fetch together.
    this.#timer = setTimeout(() => void this.#refresh(), ms * (0.8 + Math.random() * 0.2))
    this.#timer.unref()
  }

  /**
   * Fetches the keys for the library, which calls it one at a time and keeps the last set if it
   * fails.
   */
  async #fetch(): Promise<Response> {
    // Tokens with invented key ids must not make us flood a failing issuer.
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
    // An empty set withdraws all keys. A set without any usable key is a mistake: keep the last
    // one.
    if (keys.length > 0 && !keys.some(isVerifying))
      throw this.#server.error('it answered with a key set that has no key to verify tokens with')
    return answer
  }
}
