import rateLimit, { type FastifyRateLimitStore } from '@fastify/rate-limit'
import type { FastifyContextConfig, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { WindowCounts } from '../bounds/window-counts.ts'
import type { Config } from '../config/config.ts'
import { ProblemError } from './schemas/problem.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * `config` of a rate-limited route. Each caller's requests are counted over all routes with the
     * same limit.
     */
    rateLimits: {
      /** For routes with `requireSubscriber`. */
      readonly subscriber: FastifyContextConfig
      /** For routes with `requireProducer`. */
      readonly producer: FastifyContextConfig
    }
  }
}

/** Requests of a subscriber per minute, and of a producer per second; 0 is no limit. */
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

/** Allows a caller `max` requests in `seconds`, over all routes of the group. */
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
        new ProblemError(
          'rate-limited',
          `At most ${max} requests are allowed in ${seconds} s; slow down.`,
          {
            retryAfter: Math.max(1, Math.ceil(ttl / 1000))
          }
        )
    }
  }
}

/**
 * Counts all routes of a group together; the library's own store counts each route separately. The
 * library appends the group to the caller's name.
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

  /** The store for one route: all share the counts. */
  child(): this {
    return this
  }
}
