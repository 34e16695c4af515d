import type { AuthConfig } from '../config/config.ts'
import type { Store } from '../log/store.ts'
import type { Subscriber } from '../log/subscriber.ts'
import { AuthError, denied } from './auth-error.ts'
import { type CookieParser, cookieValues } from './cookie-values.ts'
import { createJwtVerifier, looksLikeJwt, type VerifyJwt } from './jwt.ts'
import { KeySet } from './key-set.ts'
import { bearerOf } from './keyring.ts'
import { SessionLookUp } from './session-lookup.ts'
import type { SignInObserver } from './sign-in-observer.ts'
import { createCookieVerifier, looksSigned } from './signed-cookie.ts'
import { readTicket, useTicket } from './ticket.ts'

/** The configured auth methods, and what they need. */
export interface IdentityOptions extends AuthConfig {
  readonly parseCookie: CookieParser
  readonly store: Pick<Store, 'takeTicket' | 'revokedAt'>
  readonly observer: SignInObserver
}

/** The credentials of a request: `ticket` of the query, and two headers as they were sent. */
export interface Credentials {
  readonly ticket?: string | undefined
  readonly authorization?: string | undefined
  readonly cookie?: string | undefined
}

/**
 * The auth method that identified a caller. A browser may send a `cookie` or `session` credential
 * without being asked, also from a page of another site.
 */
export type Via = 'ticket' | 'bearer' | 'cookie' | 'session'

/** A caller whose credential is valid. */
export interface Authenticated {
  readonly subscriber: Subscriber
  readonly via: Via
  /**
   * Uses a ticket up; does nothing for other credentials. Call it when nothing else can refuse the
   * request any more. Rejects with an {@link AuthError} `denied` if another request used it first.
   */
  redeem(): Promise<void>
}

/** Identifies subscribers. */
export interface Identity {
  /** Rejects with an {@link AuthError}. */
  authenticate(credentials: Credentials): Promise<Authenticated>
  /** Stops fetching keys, and closes the connections to the servers it asks. */
  close(): void
}

/**
 * A credential that is present and whose auth method is configured: it decides, also if it is
 * wrong.
 */
type Found = {
  readonly via: Via
  verify(): Promise<Subscriber>
  redeem?(): Promise<void>
}

/** The configured auth methods; undefined for those that are not. */
interface Methods {
  readonly jwt: VerifyJwt | undefined
  readonly signed: ((value: string) => Subscriber) | undefined
  readonly session: SessionLookUp | undefined
}

const nothingToRedeem = async (): Promise<void> => {}

/** Identifies subscribers: the first credential that is configured and present decides. */
export function createIdentity(options: IdentityOptions): Identity {
  const { store, observer, jwksUrl, sessionUrl, cookieSecrets } = options
  const keySet = jwksUrl === undefined ? undefined : new KeySet(jwksUrl, observer)
  const methods: Methods = {
    jwt: createJwtVerifier({ ...options, keySet }),
    signed: cookieSecrets.length > 0 ? createCookieVerifier(cookieSecrets) : undefined,
    session:
      sessionUrl === undefined ? undefined : new SessionLookUp({ url: sessionUrl, store, observer })
  }
  const { session } = methods

  const find = ({ ticket, authorization, cookie }: Credentials): Found => {
    if (ticket !== undefined)
      return {
        via: 'ticket',
        verify: () => readTicket(store, ticket),
        redeem: () => useTicket(store, ticket)
      }
    const found = inBearer(methods, authorization) ?? inCookie(methods, options, cookie)
    if (found) return found
    if (session && (cookie || authorization))
      return { via: 'session', verify: () => session.identify({ cookie, authorization }) }
    throw denied(`Send a credential: ${describe(methods, options.cookie)}.`)
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

function inBearer({ jwt, session }: Methods, authorization: string | undefined): Found | undefined {
  const token = bearerOf(authorization)
  if (!jwt || token === undefined) return undefined
  // If a session look-up is configured, an opaque token belongs to the application.
  if (session && !looksLikeJwt(token)) return undefined
  return { via: 'bearer', verify: () => jwt(token) }
}

function inCookie(
  { jwt, signed, session }: Methods,
  { cookie, parseCookie }: Pick<IdentityOptions, 'cookie' | 'parseCookie'>,
  header: string | undefined
): Found | undefined {
  if (header === undefined || !(jwt || signed)) return undefined
  const values = cookieValues(header, cookie, parseCookie)
  if (values.length === 0) return undefined
  const readings = values.flatMap((value) => [
    ...(jwt && looksLikeJwt(value) ? [() => jwt(value)] : []),
    ...(signed && looksSigned(value) ? [async () => signed(value)] : [])
  ])
  if (readings.length > 0) return { via: 'cookie', verify: () => firstOf(readings) }
  // The application may keep its own session id in a cookie of this name.
  if (session) return undefined
  const forms = [
    ...(jwt ? ['a JWT'] : []),
    ...(signed ? ['a user name signed with COOKIE_SECRET'] : [])
  ].join(' or ')
  const detail = `The cookie ${cookie} was sent, but its value is not ${forms}.`
  return { via: 'cookie', verify: () => Promise.reject(denied(detail)) }
}

/**
 * Returns the first subscriber that a reading finds. If all readings fail, throws the first error
 * that is more than a denial (`unavailable`), or else the first denial.
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

/** The credentials that a caller may send, in words. */
function describe({ jwt, signed, session }: Methods, cookie: string): string {
  const ways = ['a ticket as ?ticket=…']
  if (jwt) ways.push('Authorization: Bearer <JWT>', `a JWT in the cookie ${cookie}`)
  if (signed) ways.push(`the signed cookie ${cookie}`)
  if (session) ways.push('the session of the application (its Cookie or Authorization)')
  return new Intl.ListFormat('en-GB', { type: 'disjunction' }).format(ways)
}
