import { BellwireError } from './error.ts'
import type { InboxOptions } from './types.ts'

/** A token is renewed this long before it expires, or after three quarters of a short lifetime. */
const RENEW_BEFORE_MS = 30_000

/** RFC 6750, 2.1: other characters are not allowed in an `Authorization` header. */
const CREDENTIAL = /^[\w.~+/=-]+$/

/**
 * Gets a credential from the application. Anything else (such as a backend's error page) is a
 * `BellwireError` that quotes its beginning: sent in a request it would look like a network
 * failure.
 */
export async function askFor(
  what: 'token' | 'ticket',
  given: NonNullable<InboxOptions['token']>
): Promise<string> {
  let answer: unknown
  try {
    answer = await (typeof given === 'function' ? given() : given)
  } catch (error) {
    throw new BellwireError(what, `no ${what}: ${error}`)
  }
  const credential = `${answer}`.trim()
  if (typeof answer === 'string' && CREDENTIAL.test(credential)) return credential
  throw new BellwireError(what, `no ${what}: ${JSON.stringify(credential.slice(0, 20))}`)
}

/** The claims of a JWT, not verified; empty if it is not a JWT. */
function claimsOf(token: string): { readonly sub?: string; readonly exp?: number } {
  try {
    // User names are ASCII, so the bytes need no decoding.
    return JSON.parse(atob(token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/')))
  } catch {
    return {}
  }
}

/**
 * The token, requested once for all that wait for it, and again before it expires or after a 401.
 */
export interface TokenSource {
  /** Milliseconds until it should be renewed; Infinity if it names no expiry. */
  renewInMs(): number
  /** Undefined if cookies are the credential. */
  get(): Promise<string | undefined>
  /**
   * The service rejected it, or it is about to expire: the next `get` asks for another one. True if
   * the application can supply another.
   */
  refused(asked?: Promise<string | undefined>): boolean
  /** The user that the token names; undefined if it cannot be read. */
  user(): Promise<string | undefined>
}

/** `given` is the option `token`. */
export function tokenSource(given: InboxOptions['token']): TokenSource {
  let current: Promise<string | undefined> | undefined
  let renewAt = Infinity

  const ask = async (): Promise<string | undefined> => {
    if (!given) return undefined
    try {
      const token = await askFor('token', given)
      const lifeMs = (claimsOf(token).exp ?? 0) * 1000 - Date.now()
      // The service decides about a token that seems expired (the device's clock may be wrong) or
      // names no expiry.
      if (lifeMs > 0) renewAt = Date.now() + lifeMs - Math.min(RENEW_BEFORE_MS, lifeMs / 4)
      return token
    } catch (error) {
      source.refused()
      throw error
    }
  }
  const source: TokenSource = {
    renewInMs: () => renewAt - Date.now(),
    get() {
      if (source.renewInMs() <= 0) source.refused()
      current ??= ask()
      return current
    },
    refused(asked = current) {
      if (asked === current) {
        current = undefined
        renewAt = Infinity
      }
      return typeof given === 'function'
    },
    user: async () => claimsOf((await source.get()) ?? '').sub
  }
  return source
}
