import cookie from '@fastify/cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Credentials, Identity, Via } from '../auth/identity.ts'
import type { Keyring } from '../auth/keyring.ts'
import { type OriginOptions, trustedOrigins } from '../auth/origins.ts'
import type { Config, Scope } from '../config/config.ts'
import type { Subscriber } from '../log/subscriber.ts'
import { ProblemError } from './schemas/problem.ts'
import { hasLeft } from './transports/report-error.ts'

type OnRequest = (
  request: FastifyRequest,
  reply: FastifyReply,
  done: (error?: Error) => void
) => void

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Makes an `onRequest` hook: checks the publish key, and that it has the scope, before the body
     * is read. Sets `request.producer`.
     */
    requireProducer: (scope: Scope) => OnRequest
    /**
     * `onRequest` hook: checks the operator key, for which browsers prompt. Sets
     * `request.operator`.
     */
    requireOperator: OnRequest
    /**
     * `onRequest` hook: checks the subscriber's credential before the body is read. Sets
     * `request.subscriber`, `request.via` and `request.redeem`. Throws an `AuthError`.
     */
    requireSubscriber: (request: FastifyRequest) => Promise<void>
    /**
     * `onRequest` hook after `requireSubscriber`: a change that is authenticated by a cookie must
     * be JSON and come from a trusted page.
     */
    requireOwnPage: OnRequest
    /**
     * Tells whether a page of an untrusted origin sent this request with a cookie. Call it after
     * `requireSubscriber`.
     */
    isForeignPage: (request: FastifyRequest) => boolean
  }
  interface FastifyRequest {
    /** Name of the publish key; empty if none was checked or it is wrong. */
    producer: string
    /** Name of the operator key; empty if none was checked or it is wrong. */
    operator: string
    /** Set by `requireSubscriber` only. */
    subscriber: Subscriber
    /** The auth method that identified `subscriber`. */
    via: Via
    /**
     * Uses up the ticket of the request, if it has one. Call it when nothing else can refuse the
     * request any more.
     */
    redeem: () => Promise<void>
  }
}

interface AuthOptions extends OriginOptions, Pick<Config, 'publishScopes'> {
  readonly identity: Pick<Identity, 'authenticate'>
  readonly producers: Keyring
  readonly operators: Keyring
}

/** Identifies callers: producers, operators and subscribers. */
export default fp<AuthOptions>(
  async (app, { identity, producers, operators, publishScopes, ...origins }) => {
    // Most requests need no cookies, so only `authenticate` parses them.
    await app.register(cookie, { hook: false })
    app.decorateRequest('producer', '')
    app.decorateRequest('operator', '')
    app.decorateRequest('subscriber')
    app.decorateRequest('via')
    app.decorateRequest('redeem')
    app.decorate('requireProducer', (scope) => requireProducer(producers, publishScopes, scope))
    app.decorate('requireOperator', requireOperator(operators))
    app.decorate('requireSubscriber', async (request) => {
      const { subscriber, via, redeem } = await identity.authenticate(credentialsOf(request))
      request.subscriber = subscriber
      request.via = via
      // If the client has left, its ticket stays valid.
      request.redeem = async () => {
        if (!hasLeft(request)) await redeem()
      }
    })
    const trusted = trustedOrigins(origins)
    const isForeignPage = (request: FastifyRequest): boolean => {
      const { origin } = request.headers
      return isAmbient(request) && origin !== undefined && !trusted(request, origin)
    }
    app.decorate('isForeignPage', isForeignPage)
    app.decorate('requireOwnPage', requireOwnPage(isForeignPage))
  },
  { name: 'auth', dependencies: ['problems'] }
)

const credentialsOf = (request: FastifyRequest): Credentials => ({
  ticket: (request.query as { ticket?: string }).ticket,
  authorization: request.headers.authorization,
  cookie: request.headers.cookie
})

/**
 * Whether a browser adds the credential by itself, so that any page could have sent the request.
 */
const isAmbient = (request: FastifyRequest): boolean =>
  request.headers.cookie !== undefined && request.via !== 'ticket' && request.via !== 'bearer'

/** What is wrong with the key of a request; empty if it has none. */
function wrongKey(
  authorization: string | undefined,
  setting: 'PUBLISH_KEYS' | 'MONITOR_KEYS'
): string {
  if (!authorization) return ''
  // A single word that is not a scheme is a key without its scheme.
  if (!/\s|^(?:bearer|basic)$/i.test(authorization)) return '`Bearer ` is missing before the key. '
  return `The key sent is not one of ${setting}. `
}

function requireProducer(keys: Keyring, given: Config['publishScopes'], scope: Scope): OnRequest {
  const lacking = new Set(
    given.filter(({ scopes }) => !scopes.includes(scope)).map(({ name }) => name)
  )
  return (request, _reply, done) => {
    const { authorization } = request.headers
    const producer = keys.match(authorization) ?? ''
    request.producer = producer
    if (producer === '') {
      const detail = `${wrongKey(authorization, 'PUBLISH_KEYS')}Send a publish key: Authorization: Bearer <key>.`
      return done(new ProblemError('unauthenticated', detail))
    }
    if (!lacking.has(producer)) return done()
    const detail = `The key of ${producer} lacks the scope ${scope}: use another key, or add the scope in PUBLISH_SCOPES.`
    done(new ProblemError('forbidden', detail))
  }
}

/** Methods that change nothing (RFC 9110, 9.2.1). */
const READS: ReadonlySet<string> = new Set(['GET', 'HEAD'])
/**
 * Sent as two header fields: Chromium reads one field with a comma as a malformed challenge and
 * does not prompt.
 */
const CHALLENGES = ['Basic realm="Bellwire monitor", charset="UTF-8"', 'Bearer']

function requireOperator(keys: Keyring): OnRequest {
  return (request, reply, done) => {
    const { authorization } = request.headers
    // A browser that has stored the key for Basic adds it to requests from any page: Sec-Fetch-Site
    // tells them apart (Fetch Metadata, 2.3).
    if (request.headers['sec-fetch-site'] === 'cross-site' && !READS.has(request.method)) {
      const detail = 'Pages of other sites may not change anything: use the dashboard.'
      return done(new ProblemError('forbidden', detail))
    }
    request.operator = keys.match(authorization) ?? ''
    if (request.operator !== '') return done()
    reply.header('www-authenticate', CHALLENGES)
    const detail = `${wrongKey(authorization, 'MONITOR_KEYS')}Send an operator key: Authorization: Bearer <key>, or Basic with the key as password.`
    done(new ProblemError('unauthenticated', detail))
  }
}

function requireOwnPage(isForeignPage: (request: FastifyRequest) => boolean): OnRequest {
  return (request, _reply, done) => {
    if (!isAmbient(request)) return done()
    const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase()
    if (type !== 'application/json') {
      const detail = 'With a cookie, send Content-Type: application/json.'
      return done(new ProblemError('unsupported-media-type', detail))
    }
    if (isForeignPage(request)) {
      const detail =
        'Pages of this origin may not act with a cookie: add it to CORS_ORIGINS, or send a bearer token.'
      return done(new ProblemError('forbidden', detail))
    }
    done()
  }
}
