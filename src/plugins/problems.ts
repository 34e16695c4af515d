import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { asProblem } from './schemas/as-problem.ts'
import { decodeJson } from './schemas/json-body.ts'
import { ProblemError } from './schemas/problem.ts'
import { hasBody } from './transports/answer.ts'
import { type ErrorPlace, type OnError, placeOf, reportError } from './transports/report-error.ts'
import { RouteTable } from './transports/route-table.ts'
import { sendProblem } from './transports/send-problem.ts'

interface ProblemOptions {
  /** What the addresses of all routes begin with. */
  readonly basePath?: string | undefined
  /** Called for every error that is not the caller's fault. */
  readonly onError?: OnError | undefined
  /** Called for every request that was refused for a fault of the caller's, with the text sent to the caller. */
  readonly onRefusal?: ((code: string, detail: string, place: ErrorPlace) => void) | undefined
}

/** Laid over the headers of a request, so that Fastify finds no body to parse. */
const NO_BODY = {
  'content-type': undefined,
  'content-length': undefined,
  'transfer-encoding': undefined
} as const

/**
 * Answers every error with a problem document (RFC 9457), and reads bodies: JSON in UTF-8 and nothing
 * else. Register it before all routes.
 */
export default fp<ProblemOptions>(
  async (app, { basePath = '', onError, onRefusal }) => {
    app.setErrorHandler((error, request, reply) => {
      let problem = asProblem(error)
      // A body that is missing altogether breaks no rule of its schema.
      if (
        problem.slug === 'validation' &&
        request.body === undefined &&
        problem.errors[0]?.pointer === ''
      ) {
        problem = new ProblemError('malformed', 'The body is empty; send JSON.')
      }
      if (problem.statusCode >= 500) {
        if (onError) reportError(request, problem, onError)
      } else onRefusal?.(problem.slug, problem.message, placeOf(request))
      return sendProblem(request, reply, problem)
    })
    handleUnknownPaths(app, basePath)
    readJsonBodies(app)
  },
  { name: 'problems' }
)

/** Answers a path without a route with 404, and a path without this method with 405. */
function handleUnknownPaths(app: FastifyInstance, basePath: string): void {
  const routes = new RouteTable()
  app.addHook('onRoute', ({ url, method }) => routes.add(url, [method].flat()))
  app.setNotFoundHandler((request, reply) => {
    const [path = ''] = request.url.split('?', 1)
    const methods = routes.methodsOf(path)
    if (methods.length > 0) {
      reply.header('allow', methods.join(', '))
      const detail = `Ask with ${methods.join(' or ')}.`
      return sendProblem(request, reply, new ProblemError('method-not-allowed', detail))
    }
    const near = routes.nearest(path)
    const hint = near === undefined ? '' : `Did you mean ${near}? `
    const detail = `There is nothing at this address. ${hint}All addresses: ${basePath}/documentation.`
    return sendProblem(request, reply, new ProblemError('not-found', detail))
  })
}

function readJsonBodies(app: FastifyInstance): void {
  // A route that takes no body ignores one: it is neither parsed nor checked.
  app.addHook('preParsing', (request, _reply, payload, done) => {
    if (hasBody(request.raw) && (request.is404 || request.routeOptions.schema?.body === undefined))
      request.headers = NO_BODY
    done(null, payload)
  })
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    (request, body: Buffer, done) => {
      const text = decodeJson(request, body, done)
      if (text !== undefined) parseJson(request, text, done)
    }
  )
}
