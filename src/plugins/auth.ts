import cookie from '@fastify/cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Credentials, Identity, Via } from '../auth/identity.ts'
import type { Keyring } from '../auth/keyring.ts'
import { type OriginOptions, trustedOrigins } from '../auth/origins.ts'
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
    /** `onRequest` hook: a publish key, checked before the body is read. Sets `request.producer`. */
    requireProducer: OnRequest
    /** `onRequest` hook: a key for operators; browsers ask their user for it. Sets `request.operator`. */
    requireOperator: OnRequest
    /**
     * `onRequest` hook: a subscriber's credential, checked before the body is read. Sets
     * `request.subscriber`, `request.via` and `request.redeem`. Throws an `AuthError`.
     */
    requireSubscriber: (request: FastifyRequest) => Promise<void>
    /** `onRequest` hook behind `requireSubscriber`: a change made with a cookie must be JSON, from a trusted page. */
    requireOwnPage: OnRequest
    /** Behind `requireSubscriber`: whether a page of an origin that is not trusted caused this request, with a cookie. */
    isForeignPage: (request: FastifyRequest) => boolean
  }
  interface FastifyRequest {
    /** Name of the publish key; empty if none was checked, or none fits. */
    producer: string
    /** Name of the operator's key; empty if none was checked, or none fits. */
    operator: string
    /** Set by `requireSubscriber` only. */
    subscriber: Subscriber
    /** The auth method that found `subscriber`. */
    via: Via
    /** Uses a ticket up, if `subscriber` came with one. Call it when nothing else can refuse the request any more. */
    redeem: () => Promise<void>
  }
}

interface AuthOptions extends OriginOptions {
  readonly identity: Pick<Identity, 'authenticate'>
  readonly producers: Keyring
  readonly operators: Keyring
}

/** Finds out who calls: a producer, an operator, a subscriber. */
export default fp<AuthOptions>(
  async (app, { identity, producers, operators, ...origins }) => {
    // Most requests need no cookie: `parseCookie` is called where a subscriber's credential is looked for.
    await app.register(cookie, { hook: false })
    app.decorateRequest('producer', '')
    app.decorateRequest('operator', '')
    app.decorateRequest('subscriber')
    app.decorateRequest('via')
    app.decorateRequest('redeem')
    app.decorate('requireProducer', requireProducer(producers))
    app.decorate('requireOperator', requireOperator(operators))
    app.decorate('requireSubscriber', async (request) => {
      const { subscriber, via, redeem } = await identity.authenticate(credentialsOf(request))
      request.subscriber = subscriber
      request.via = via
      // A client that has left uses nothing up.
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

/** Whether a browser sent the credential by itself, so that any page could have caused the request. */
const isAmbient = (request: FastifyRequest): boolean =>
  request.headers.cookie !== undefined && request.via !== 'ticket' && request.via !== 'bearer'

/** What is wrong with the key that a request brought; empty if it brought none. */
function wrongKey(
  authorization: string | undefined,
  setting: 'PUBLISH_KEYS' | 'MONITOR_KEYS'
): string {
  if (!authorization) return ''
  // One word that is no scheme: the key alone.
  if (!/\s|^(?:bearer|basic)$/i.test(authorization)) return '`Bearer ` is missing before the key. '
  return `The key sent is not one of ${setting}. `
}

function requireProducer(keys: Keyring): OnRequest {
  return (request, _reply, done) => {
    const { authorization } = request.headers
    request.producer = keys.match(authorization) ?? ''
    if (request.producer !== '') return done()
    const detail = `${wrongKey(authorization, 'PUBLISH_KEYS')}Send a publish key: Authorization: Bearer <key>.`
    done(new ProblemError('unauthenticated', detail))
  }
}

/** Methods that change nothing (RFC 9110, 9.2.1). */
const READS: ReadonlySet<string> = new Set(['GET', 'HEAD'])
/** Two fields, not one with a comma: Chromium takes the latter for one malformed challenge, and asks for no key. */
const CHALLENGES = ['Basic realm="Bellwire monitor", charset="UTF-8"', 'Bearer']

function requireOperator(keys: Keyring): OnRequest {
  return (request, reply, done) => {
    const { authorization } = request.headers
    // A browser that keeps the key for Basic adds it to every request of any page (Fetch Metadata, 2.3).
    if (request.headers['sec-fetch-site'] === 'cross-site' && !READS.has(request.method)) {
      const detail = 'A page of another site may change nothing here; use the dashboard.'
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
        'This origin may not act with a cookie; add it to CORS_ORIGINS, or send a bearer token.'
      return done(new ProblemError('forbidden', detail))
    }
    done()
  }
}
