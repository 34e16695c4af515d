import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { asProblem } from './schemas/as-problem.ts'
import { decodeJson } from './schemas/json-body.ts'
import { ProblemError } from './schemas/problem.ts'
import { hasBody } from './transports/answer.ts'
import {
  contextOf,
  type ErrorContext,
  type OnError,
  reportError
} from './transports/report-error.ts'
import { RouteTable } from './transports/route-table.ts'
import { sendProblem } from './transports/send-problem.ts'

interface ProblemOptions {
  /** Prefix of all routes' paths; empty by default. */
  readonly basePath?: string | undefined
  /** Called for each error that is not the caller's fault. */
  readonly onError?: OnError | undefined
  /** Called for each request that was refused through the caller's fault, with the text sent. */
  readonly onRefusal?: ((code: string, detail: string, context: ErrorContext) => void) | undefined
}

/** Replaces the headers of a request, so that Fastify parses no body. */
const NO_BODY = {
  'content-type': undefined,
  'content-length': undefined,
  'transfer-encoding': undefined
} as const

/**
 * Answers every error with a problem document (RFC 9457), and parses bodies: only JSON in UTF-8.
 * Register it before all routes.
 */
export default fp<ProblemOptions>(
  async (app, { basePath = '', onError, onRefusal }) => {
    app.setErrorHandler((error, request, reply) => {
      let problem = asProblem(error)
      // A missing body is reported as such, not as a schema violation.
      if (
        problem.slug === 'validation' &&
        request.body === undefined &&
        problem.errors[0]?.pointer === ''
      ) {
        problem = new ProblemError('malformed', 'The body is empty; send JSON.')
      }
      if (problem.statusCode >= 500) {
        if (onError) reportError(request, problem, onError)
      } else onRefusal?.(problem.slug, problem.message, contextOf(request))
      return sendProblem(request, reply, problem)
    })
    handleUnknownPaths(app, basePath)
    readJsonBodies(app)
  },
  { name: 'problems' }
)

/** Answers 404 if no route has the path, and 405 if the path has no route with this method. */
function handleUnknownPaths(app: FastifyInstance, basePath: string): void {
  const routes = new RouteTable()
  app.addHook('onRoute', ({ url, method }) => routes.add(url, [method].flat()))
  app.setNotFoundHandler((request, reply) => {
    const [path = ''] = request.url.split('?', 1)
    const methods = routes.methodsOf(path)
    if (methods.length > 0) {
      reply.header('allow', methods.join(', '))
      const detail = `Use ${methods.join(' or ')}.`
      return sendProblem(request, reply, new ProblemError('method-not-allowed', detail))
    }
    const near = routes.nearest(path)
    const hint = near === undefined ? '' : `Did you mean ${near}? `
    const detail = `Nothing exists at this address. ${hint}All addresses: ${basePath}/documentation.`
    return sendProblem(request, reply, new ProblemError('not-found', detail))
  })
}

/** Parses JSON bodies for the routes that take one, and ignores the bodies of all others. */
function readJsonBodies(app: FastifyInstance): void {
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
      if (text !== undefined) void parseJson(request, text, done)
    }
  )
}
