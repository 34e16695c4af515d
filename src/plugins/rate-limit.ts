import rateLimit, { type FastifyRateLimitStore } from '@fastify/rate-limit'
import type { FastifyContextConfig, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { WindowCounts } from '../bounds/window-counts.ts'
import type { Config } from '../config/config.ts'
import { ProblemError } from './schemas/problem.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** `config` of a route whose callers are limited: each caller's requests count over all routes with the same limit. */
    rateLimits: {
      /** Behind `requireSubscriber`. */
      readonly subscriber: FastifyContextConfig
      /** Behind `requireProducer`. */
      readonly producer: FastifyContextConfig
    }
  }
}

/** 0 switches a limit off. */
type RateLimitOptions = Pick<Config, 'rateLimit' | 'publishRate'>

/** Limits how often each subscriber and each producer may call. */
export default fp<RateLimitOptions>(
  async (app, limits) => {
    await app.register(rateLimit, { global: false, store: GroupedCounts })
    app.decorate('rateLimits', {
      subscriber: limited('subscriber', limits.rateLimit, 60, ({ subscriber }) => subscriber.user),
      producer: limited('publish', limits.publishRate, 1, ({ producer }) => producer)
    })
  },
  { name: 'rate-limit', dependencies: ['auth'] }
)

/** At most `max` requests of a caller in `seconds`, over all routes of the group. */
function limited(
  groupId: string,
  max: number,
  seconds: number,
  callerOf: (request: FastifyRequest) => string
): FastifyContextConfig {
  if (max === 0) return {}
  return {
    rateLimit: {
      max,
      timeWindow: seconds * 1000,
      groupId,
      hook: 'onRequest',
      keyGenerator: callerOf,
      errorResponseBuilder: (_request, { ttl }) =>
        new ProblemError('rate-limited', `At most ${max} requests in ${seconds} s; slow down.`, {
          retryAfter: Math.max(1, Math.ceil(ttl / 1000))
        })
    }
  }
}

/**
 * The library's own store counts each route separately. This one counts all routes of a group together:
 * the library appends the group to the caller's name.
 */
class GroupedCounts implements FastifyRateLimitStore {
  readonly #counts = new WindowCounts()

  incr(
    caller: string,
    counted: (error: null, result: { current: number; ttl: number }) => void,
    windowMs: number
  ): void {
    const { current, leftMs } = this.#counts.count(caller, windowMs)
    counted(null, { current, ttl: leftMs })
  }

  /** The counts of one route. */
  child(): this {
    return this
  }
}
