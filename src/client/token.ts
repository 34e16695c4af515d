import { BellwireError } from './error.ts'
import type { InboxOptions } from './types.ts'

/** A token is renewed this long before its expiry, or at three quarters of a short life. */
const RENEW_BEFORE_MS = 30_000

/** RFC 6750, 2.1: nothing else can stand in an `Authorization` header, nor in an address. */
const CREDENTIAL = /^[\w.~+/=-]+$/

/**
 * Asks the application for a credential. What is none (a backend's error page, say) is an error that shows how it begins; it
 * never goes into a request, which would fail as if there were no network.
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

/** The claims of a JWT; nothing for what is none. They are not verified: the service does that. */
function claimsOf(token: string): { readonly sub?: string; readonly exp?: number } {
  try {
    // Names of users are ASCII, so the bytes need no decoding.
    return JSON.parse(atob(token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/')))
  } catch {
    return {}
  }
}

/** Where the token comes from: asked for once, however many wait for it, and again before it expires or after it was refused. */
export interface TokenSource {
  /** Milliseconds until it should be renewed. */
  renewInMs(): number
  /** Undefined where cookies are the credential. */
  get(): Promise<string | undefined>
  /** The service has refused it, or it is about to expire: the next one who asks gets another. True where another can be had. */
  refused(asked?: Promise<string | undefined>): boolean
  /** The user that the token names, as far as we can read it. */
  user(): Promise<string | undefined>
}

export function tokenSource(given: InboxOptions['token']): TokenSource {
  let current: Promise<string | undefined> | undefined
  let renewAt = Infinity

  const ask = async (): Promise<string | undefined> => {
    if (!given) return undefined
    try {
      const token = await askFor('token', given)
      const lifeMs = (claimsOf(token).exp ?? 0) * 1000 - Date.now()
      // One that seems to have expired (the device's clock may be wrong), or names no expiry, is the service's to judge.
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
