import cors, { type FastifyCorsOptions } from '@fastify/cors'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type OriginOptions, originMatcher, trustedOrigins } from '../auth/origins.ts'

interface CorsOptions extends OriginOptions {
  /** Prefix of all routes' paths; may be empty. */
  readonly basePath: string
  /** Called if a page's origin is not in `CORS_ORIGINS`, so that its browser hides the response. */
  readonly onUnlisted: (origin: string) => void
}

/**
 * The paths that subscribers' pages use. No other origin may use those of producers or operators.
 */
const FOR_PAGES = /^\/(?:v1\/(?:stream|socket|changes|inbox(?:\/[a-z]+)?)|client\.js|bell\.js)$/

/** Headers that pages send, or their libraries: EventSource polyfills, tracing, request helpers. */
const ALLOWED_HEADERS = [
  'Authorization',
  'Content-Type',
  'Last-Event-ID',
  'Cache-Control',
  'Pragma',
  'If-None-Match',
  'X-Request-Id',
  'X-Requested-With',
  'traceparent',
  'tracestate',
  'baggage',
  'sentry-trace'
]
const EXPOSED_HEADERS = ['Date', 'ETag', 'Retry-After', 'X-Request-Id']

/** Allows pages of `CORS_ORIGINS` to use subscribers' routes with credentials. */
export default fp<CorsOptions>(
  async (app, { basePath, onUnlisted, ...origins }) => {
    const listed = originMatcher(origins.corsOrigins)
    const trusted = trustedOrigins(origins)
    const isForPages = (request: FastifyRequest): boolean => {
      const [path = ''] = request.url.split('?', 1)
      return path.startsWith(basePath) && FOR_PAGES.test(path.slice(basePath.length))
    }
    const open: FastifyCorsOptions = {
      origin: (origin, decide) =>
        decide(null, origin !== undefined && listed(origin) ? origin : false),
      credentials: true,
      // An OPTIONS request that is not a preflight gets our own response, not the library's text.
      strictPreflight: false,
      methods: ['GET', 'HEAD', 'POST'],
      allowedHeaders: ALLOWED_HEADERS,
      exposedHeaders: EXPOSED_HEADERS,
      maxAge: 600
    }
    const shut: FastifyCorsOptions = { origin: false }

    if (origins.corsOrigins.length > 0) {
      await app.register(cors, {
        delegator: (request, decide) => decide(null, isForPages(request) ? open : shut)
      })
    }
    app.addHook('onRequest', (request, _reply, done) => {
      const { origin } = request.headers
      if (origin !== undefined && isForPages(request) && !trusted(request, origin))
        onUnlisted(origin)
      done()
    })
  },
  { name: 'cors' }
)
