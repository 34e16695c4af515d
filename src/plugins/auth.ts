import rateLimit from '@fastify/rate-limit'
import type { FastifyContextConfig, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { originMatcher } from '../auth/origins.ts'
import { WindowCounts } from '../bounds/window-counts.ts'
import type { Subscriber } from '../log/subscriber.ts'
import { ProblemError } from './schemas/problem.ts'
import { selectTopics } from './schemas/topics.ts'
import { hasLeft } from './transports/report-error.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Name of the publish key, behind {@link producerOnly}. */
    producer?: string
    /** Who reads, behind {@link subscriberOnly}. */
    subscriber?: Subscriber
    /** Which way in `subscriber` came by. */
    via?: string
    /** Uses a ticket up, if `subscriber` came by one: called when nothing else refuses the request any more. */
    enter?: () => Promise<void>
  }
}

/** What a request brings to prove who reads. */
export interface Credentials {
  readonly ticket?: string | undefined
  readonly authorization?: string | undefined
  readonly cookie?: string | undefined
}

/** Finds the subscriber, or throws a {@link ProblemError} `unauthenticated` or `unavailable`. */
export interface SubscriberIdentity {
  authenticate(credentials: Credentials): Promise<{
    readonly subscriber: Subscriber
    readonly via: string
    /** Uses a ticket up. */
    enter(): Promise<void>
  }>
}

/** Finds the name of the key that an Authorization header holds. */
export interface ProducerKeys {
  match(authorization: string | undefined): string | undefined
}

/** The credentials of a request. */
export function credentialsOf(request: FastifyRequest): Credentials {
  return {
    ticket: (request.query as { ticket?: string }).ticket,
    authorization: request.headers.authorization,
    cookie: request.headers.cookie
  }
}

/** Methods that change nothing (RFC 9110, 9.2.1). */
const READS: ReadonlySet<string> = new Set(['GET', 'HEAD'])

type OnRequest = (
  request: FastifyRequest,
  reply: FastifyReply,
  done: (error?: Error) => void
) => void

/** What is wrong with the key that a request brought; empty if it brought none. */
function wrongKey(
  authorization: string | undefined,
  setting: 'PUBLISH_KEYS' | 'MONITOR_KEYS'
): string {
  if (!authorization) return ''
  // One word that is no scheme: the key alone.
  if (!/\s|^(?:bearer|basic)$/i.test(authorization)) return '`Bearer ` is missing before the key. '
  return `What was sent is not one of ${setting}. `
}

/** `onRequest` hook: a publish key, checked before the body is read. */
export function producerOnly(keyring: ProducerKeys): OnRequest {
  return (request, _reply, done) => {
    const { authorization } = request.headers
    const producer = keyring.match(authorization)
    if (producer === undefined) {
      const told = wrongKey(authorization, 'PUBLISH_KEYS')
      return done(
        new ProblemError(
          'unauthenticated',
          `${told}Send a publish key: Authorization: Bearer <key>.`
        )
      )
    }
    request.producer = producer
    done()
  }
}

/** `onRequest` hook: a key for operators. A browser is asked for it. */
export function operatorOnly(match: ProducerKeys['match']): OnRequest {
  return (request, reply, done) => {
    // A browser that keeps the key for Basic sends it along with whatever any page asks for (Fetch Metadata, 2.3).
    if (request.headers['sec-fetch-site'] === 'cross-site' && !READS.has(request.method)) {
      return done(
        new ProblemError(
          'forbidden',
          'A page of another site may not change anything here; use the dashboard.'
        )
      )
    }
    const { authorization } = request.headers
    if (match(authorization) !== undefined) return done()
    // Two fields, not one with a comma: Chromium takes the latter for one malformed challenge, and asks for nothing.
    reply.header('www-authenticate', ['Basic realm="Bellwire monitor", charset="UTF-8"', 'Bearer'])
    const told = wrongKey(authorization, 'MONITOR_KEYS')
    done(
      new ProblemError(
        'unauthenticated',
        `${told}Send an operator key: Authorization: Bearer <key>, or Basic with the key as password.`
      )
    )
  }
}

/** `onRequest` hook: a subscriber's credential, checked before the body is read. Whoever uses it alone has to call `request.enter`. */
export function subscriberOnly(
  identity: SubscriberIdentity
): (request: FastifyRequest) => Promise<void> {
  return async (request) => {
    const { subscriber, via, enter } = await identity.authenticate(credentialsOf(request))
    request.subscriber = subscriber
    request.via = via
    // A client that left uses nothing up.
    request.enter = async () => {
      if (!hasLeft(request)) await enter()
    }
  }
}

/** The hooks of a route that answers a subscriber at once: a ticket is used up when neither credential nor query refuses the request. */
export function subscriberHooks(identity: SubscriberIdentity) {
  return {
    onRequest: subscriberOnly(identity),
    preHandler: async (request: FastifyRequest): Promise<void> => {
      selectTopics(request.subscriber!, (request.query as { topics?: string }).topics)
      if (request.method !== 'HEAD') await request.enter!()
    }
  }
}

/** Whose pages may act in a subscriber's name. */
export interface OriginOptions {
  /** Entries of `CORS_ORIGINS`. */
  readonly corsOrigins: readonly string[]
  readonly publicUrl?: string | undefined
}

/** The origin of an address, or undefined if it has none (also for `null`, which sandboxed pages send). */
function originOf(address: string): string | undefined {
  if (!URL.canParse(address)) return undefined
  const { origin } = new URL(address)
  return origin === 'null' ? undefined : origin
}

/**
 * Makes the test whether a page of some origin may act in a subscriber's name: the service's own origin as the client saw it,
 * `PUBLIC_URL`'s, or one of `CORS_ORIGINS`.
 */
export function trustedOrigins({
  corsOrigins,
  publicUrl
}: OriginOptions): (request: FastifyRequest, origin: string) => boolean {
  const listed = originMatcher(corsOrigins)
  const published = publicUrl === undefined ? undefined : originOf(publicUrl)
  return (request, origin) => {
    if (listed(origin)) return true
    const given = originOf(origin)
    return (
      given !== undefined &&
      (given === published || given === originOf(`${request.protocol}://${request.host}`))
    )
  }
}

/** Whether a browser sent the credential by itself, so that any page could have caused the request. */
export const isAmbient = (request: FastifyRequest): boolean =>
  request.headers.cookie !== undefined && request.via !== 'ticket' && request.via !== 'bearer'

/** `onRequest` hook behind {@link subscriberOnly}: a change asked for with a cookie must be JSON, and from a page of ours. */
export function ownPagesOnly(options: OriginOptions): OnRequest {
  const trusted = trustedOrigins(options)
  return (request, _reply, done) => {
    if (!isAmbient(request)) return done()
    const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase()
    if (type !== 'application/json') {
      return done(
        new ProblemError(
          'unsupported-media-type',
          'With a cookie, send Content-Type: application/json.'
        )
      )
    }
    const { origin } = request.headers
    if (origin !== undefined && !trusted(request, origin)) {
      return done(
        new ProblemError(
          'forbidden',
          'This origin may not act with a cookie; add it to CORS_ORIGINS, or send a bearer token.'
        )
      )
    }
    done()
  }
}

type Counted = (error: Error | null, result?: { current: number; ttl: number }) => void

/** The counts of one group of routes. */
class Counts {
  readonly #counts = new WindowCounts()

  incr(caller: string, counted: Counted, windowMs: number): void {
    const { current, leftMs } = this.#counts.count(caller, windowMs)
    counted(null, { current, ttl: leftMs })
  }
}

/** Counts for @fastify/rate-limit: its own store counts each route apart, this one all routes of a group together. */
class GroupedCounts {
  /** Bounded by the groups that our own routes name. */
  readonly #groups = new Map<string, Counts>()

  /** Of a route: one for each group. */
  child({ groupId = '' }: { groupId?: string }): Counts {
    let counts = this.#groups.get(groupId)
    if (!counts) {
      counts = new Counts()
      this.#groups.set(groupId, counts)
    }
    return counts
  }
}

/** Makes {@link limitedRoute} work for the routes that are registered later. */
export async function enableRateLimits(app: FastifyInstance): Promise<void> {
  if (app.hasDecorator('rateLimit')) return
  await app.register(rateLimit, { global: false, store: GroupedCounts as never })
}

/** Route config: at most `max` requests in `windowMs` of each caller, over all routes of the group. 0 = no limit. */
export function limitedRoute(
  groupId: string,
  max: number,
  windowMs: number,
  callerOf: (request: FastifyRequest) => string
): FastifyContextConfig {
  if (max === 0) return {}
  return {
    rateLimit: {
      max,
      timeWindow: windowMs,
      groupId,
      hook: 'onRequest',
      keyGenerator: callerOf,
      errorResponseBuilder: (_request, { ttl }) =>
        new ProblemError(
          'rate-limited',
          `At most ${max} requests in ${windowMs / 1000} s; slow down.`,
          {
            retryAfter: Math.max(1, Math.ceil(ttl / 1000))
          }
        )
    }
  }
}
