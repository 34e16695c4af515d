import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import { AuthError } from '../../src/auth/auth-error.ts'
import { type Credentials, createIdentity, type IdentityOptions } from '../../src/auth/identity.ts'
import type { Subscriber } from '../../src/log/subscriber.ts'
import { SignIns } from '../../src/monitoring/sign-ins.ts'
import { asProblem } from '../../src/plugins/schemas/as-problem.ts'
import { jwt as signJwt } from '../fixtures/jwt.ts'

type Teardown = { teardown(fn: () => unknown): void }

export const SECRET = 'a-secret-for-tests-of-32-bytes-or-more'

/** The rules of a token if no setting changes them. */
export const RULES = {
  jwtIssuer: undefined,
  jwtAudience: [],
  jwtUserClaim: 'sub',
  jwtTopicsClaim: 'topics'
} as const

/** Bellwire's cookie parser, which the plugin adds when it is ready. */
const app = Fastify()
await app.register(cookie)
export const parseCookie = app.parseCookie

/** Starts an HTTP server on `port`; `close` stops it before the end of the test. */
export async function serve(t: Teardown, listener: http.RequestListener, port = 0) {
  const server = http.createServer(listener)
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    if (!server.listening) return
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  t.teardown(close)
  const { port: bound } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${bound}/`, port: bound, close }
}

/** The part of a store that verifiers use. */
export class FakeStore {
  readonly tickets = new Map<string, { user: string; topics: readonly string[] }>()
  readonly revoked = new Map<string, number>()
  async putTicket(
    hash: string,
    holder: { user: string; topics: readonly string[] }
  ): Promise<void> {
    this.tickets.set(hash, holder)
  }
  async takeTicket(hash: string, options: { keep?: boolean } = {}) {
    const holder = this.tickets.get(hash) ?? null
    if (!options.keep) this.tickets.delete(hash)
    return holder
  }
  async revokedAt(user: string): Promise<number> {
    return this.revoked.get(user) ?? 0
  }
}

/** The subscriber without the time of the check, which differs each time. */
export const whoIs = ({ checkedAt: _, ...who }: Subscriber): Omit<Subscriber, 'checkedAt'> => who

export function identityWith(options: Partial<IdentityOptions> = {}) {
  const store = new FakeStore()
  /** The lines that would be logged. */
  const troubles: string[] = []
  const signIns = new SignIns(({ setting, origin, reason }) =>
    troubles.push(`${setting} (${origin}): ${reason}`)
  )
  const identity = createIdentity({
    ...RULES,
    jwtSecrets: [],
    jwksUrl: undefined,
    sessionUrl: undefined,
    cookie: 'session',
    cookieSecrets: [],
    store,
    observer: signIns,
    parseCookie,
    ...options
  })
  return {
    store,
    identity,
    signIns,
    troubles,
    ask: (credentials: Credentials) => outcome(identity.authenticate(credentials))
  }
}

/** The user and the auth method, or the slug of the problem that the caller receives. */
export async function outcome(
  answer: ReturnType<ReturnType<typeof createIdentity>['authenticate']>
): Promise<string> {
  try {
    const { subscriber, via } = await answer
    return `${subscriber.user} by ${via}`
  } catch (error) {
    if (error instanceof AuthError) return asProblem(error).slug
    throw error
  }
}

export const nowSeconds = (): number => Math.floor(Date.now() / 1000)

/**
 * A JWT signed without the libraries under test; it is valid for a minute unless `claims` has
 * `exp`.
 */
export const jwt = (
  claims: Record<string, unknown>,
  key: string | Buffer = SECRET,
  header: Record<string, unknown> = {}
): string => signJwt({ exp: nowSeconds() + 60, ...claims }, key, header)

/** A value that `@fastify/cookie` signed, encoded as in a header. */
export const signedCookie = (value: string, secret: string): string =>
  encodeURIComponent(
    `${value}.${createHmac('sha256', secret).update(value).digest('base64').replace(/=/g, '')}`
  )

export const bearer = (token: string): Credentials => ({ authorization: `Bearer ${token}` })
