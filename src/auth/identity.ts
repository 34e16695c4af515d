import type { Store } from '../log/store.ts'
import type { Subscriber } from '../log/subscriber.ts'
import type { SignInObserver } from '../monitoring/sign-ins.ts'
import { AuthError, denied } from './auth-error.ts'
import type { ClaimRules } from './claims.ts'
import { type CookieParser, cookieValues } from './cookie-values.ts'
import { createJwtVerifier, looksLikeJwt } from './jwt.ts'
import { KeySet } from './key-set.ts'
import { bearerOf } from './keyring.ts'
import { createSessionLookUp } from './session-lookup.ts'
import { createCookieVerifier, looksSigned } from './signed-cookie.ts'
import { readTicket, useTicket } from './ticket.ts'

/** The ways in that are configured, and what they need. */
export interface IdentityOptions extends ClaimRules {
  readonly jwtSecrets: readonly string[]
  readonly jwksUrl?: string | undefined
  /** Name of the cookie that holds a JWT or a signed user id. */
  readonly cookie: string
  readonly cookieSecrets: readonly string[]
  readonly parseCookie: CookieParser
  readonly sessionUrl?: string | undefined
  readonly store: Pick<Store, 'takeTicket' | 'revokedAt'>
  /** Hears how sign-ins go. */
  readonly observer: SignInObserver
}

/** What a request came with: the query's `ticket`, the headers as they are. */
export interface Credentials {
  readonly ticket?: string | undefined
  readonly authorization?: string | undefined
  readonly cookie?: string | undefined
}

/** `cookie` and `session` may have come by themselves, from another site's page. */
export type Via = 'ticket' | 'bearer' | 'cookie' | 'session'

export interface Authenticated {
  readonly subscriber: Subscriber
  readonly via: Via
  /**
   * Uses a ticket up; does nothing for other credentials. Call it when nothing else can refuse the
   * request any more. Rejects with an {@link AuthError} `denied` if another request used it first.
   */
  redeem(): Promise<void>
}

export interface Identity {
  /** Rejects with an {@link AuthError}. */
  authenticate(credentials: Credentials): Promise<Authenticated>
  /** Lets go of the servers that were asked. */
  close(): void
}

/** A credential that is present and configured: it decides, whatever else came along. */
type Found = {
  readonly via: Via
  verify(): Promise<Subscriber> | Subscriber
  redeem?(): Promise<void>
}

const nothingToRedeem = async (): Promise<void> => {}

/** Finds out who a subscriber is. The first credential that is configured and present decides, for yes or for no. */
export function createIdentity(options: IdentityOptions): Identity {
  const { store, observer, jwksUrl, sessionUrl } = options
  const keySet = jwksUrl === undefined ? undefined : new KeySet(jwksUrl, observer)
  const jwt = createJwtVerifier({ ...options, keySet })
  const signed =
    options.cookieSecrets.length > 0 ? createCookieVerifier(options.cookieSecrets) : undefined
  const session =
    sessionUrl === undefined ? undefined : createSessionLookUp({ url: sessionUrl, store, observer })
  const waysIn = describe(options, jwt !== undefined)

  const inBearer = (authorization: string | undefined): Found | undefined => {
    const token = bearerOf(authorization)
    if (!jwt || token === undefined) return undefined
    // With a look-up behind us, an opaque token is the application's business.
    if (session && !looksLikeJwt(token)) return undefined
    return { via: 'bearer', verify: () => jwt(token) }
  }

  const inCookie = (header: string | undefined): Found | undefined => {
    const values =
      header === undefined || !(jwt || signed)
        ? []
        : cookieValues(header, options.cookie, options.parseCookie)
    if (values.length === 0) return undefined
    const readings = values.flatMap((value) => [
      ...(jwt && looksLikeJwt(value) ? [() => jwt(value)] : []),
      ...(signed && looksSigned(value) ? [async () => signed(value)] : [])
    ])
    if (readings.length > 0) return { via: 'cookie', verify: () => firstOf(readings) }
    // The application's own session id may well be in a cookie of this name.
    if (session) return undefined
    const forms = [
      ...(jwt ? ['a JWT'] : []),
      ...(signed ? ['a user name signed with COOKIE_SECRET'] : [])
    ].join(' or ')
    const detail = `The cookie ${options.cookie} is there, but what it holds is not ${forms}.`
    return { via: 'cookie', verify: () => Promise.reject(denied(detail)) }
  }

  const find = ({ ticket, authorization, cookie }: Credentials): Found => {
    if (ticket !== undefined)
      return {
        via: 'ticket',
        verify: () => readTicket(store, ticket),
        redeem: () => useTicket(store, ticket)
      }
    const found = inBearer(authorization) ?? inCookie(cookie)
    if (found) return found
    if (session && (cookie || authorization))
      return { via: 'session', verify: () => session.identify({ cookie, authorization }) }
    throw denied(`Send a credential: ${waysIn}.`)
  }

  return {
    async authenticate(credentials) {
      const { via, verify, redeem = nothingToRedeem } = find(credentials)
      const checkedAt = performance.now()
      const subscriber = await verify()
      if (subscriber.expiresAt !== undefined && subscriber.expiresAt <= Date.now())
        throw denied('The credential has expired: get a new one.')
      observer.identified()
      return { subscriber: { ...subscriber, checkedAt }, via, redeem }
    },
    close() {
      keySet?.close()
      session?.close()
    }
  }
}

/**
 * Returns the first subscriber that a reading finds. If none does, it throws `unavailable` if one reading did, or else why the first
 * was refused.
 */
async function firstOf(readings: readonly (() => Promise<Subscriber>)[]): Promise<Subscriber> {
  const refusals: unknown[] = []
  for (const read of readings) {
    try {
      return await read()
    } catch (error) {
      refusals.push(error)
    }
  }
  throw (
    refusals.find((error) => !(error instanceof AuthError && error.kind === 'denied')) ??
    refusals[0]
  )
}

function describe(options: IdentityOptions, jwt: boolean): string {
  const ways = ['a ticket as ?ticket=…']
  if (jwt) ways.push('Authorization: Bearer <JWT>', `a JWT in the cookie ${options.cookie}`)
  if (options.cookieSecrets.length > 0) ways.push(`the signed cookie ${options.cookie}`)
  if (options.sessionUrl !== undefined)
    ways.push('the session of the application (its Cookie or Authorization)')
  return ways.length === 1 ? ways[0]! : `${ways.slice(0, -1).join(', ')} or ${ways.at(-1)}`
}
