import { isUtf8 } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { closest, distance } from 'fastest-levenshtein'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { type Fault, PROBLEMS, ProblemError, type ProblemSlug, problemDocument } from '../errors.ts'
import { StoreError } from '../log/store.ts'
import { carryHeaders } from './headers.ts'
import { type ErrorPlace, type OnError, placeOf, reportError } from './report.ts'
import { faultsOf, summaryOf } from './schemas/faults.ts'
import { hasBody } from './transports/answer.ts'
import { closeLingering, lingers } from './transports/linger.ts'

interface ErrorOptions {
  /** What the addresses of all routes begin with. */
  readonly basePath?: string | undefined
  readonly onError?: OnError | undefined
  /** Hears of every request that was refused for a fault of the caller's, and what the caller is told. */
  readonly onRefusal?: ((code: string, detail: string, place: ErrorPlace) => void) | undefined
}

const PROBLEM_JSON = 'application/problem+json; charset=utf-8'
/** When to come back after trouble behind us that gave no time of its own, seconds. */
const RETRY_AFTER = 5

/** A path that differs by more from every address we have was not meant to be one of them. */
const MAX_SLIPS = 3
/** Longer than any address of ours; comparing costs the product of the lengths. */
const MAX_COMPARED_PATH = 100

/** Laid over the headers of a request, so that Fastify finds no body to parse. */
const NO_BODY = {
  'content-type': undefined,
  'content-length': undefined,
  'transfer-encoding': undefined
} as const

/** Statuses that Fastify and its plugins raise by themselves. */
const SLUG_OF_STATUS: Readonly<Record<number, ProblemSlug>> = {
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not-found',
  405: 'method-not-allowed',
  413: 'payload-too-large',
  415: 'unsupported-media-type',
  422: 'validation',
  429: 'rate-limited',
  503: 'unavailable'
}
const DETAIL_OF: Partial<Record<ProblemSlug, string>> = {
  malformed: 'The request cannot be read; send valid JSON in UTF-8.',
  'payload-too-large': 'The body is too large.',
  'unsupported-media-type': 'Send Content-Type: application/json.',
  'rate-limited': 'Too many requests; slow down.',
  unavailable: 'Temporarily unavailable; try again.'
}

/** Any error as one of ours. What went wrong inside stays behind in `cause`. */
export function asProblem(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error
  if (error instanceof StoreError) {
    return error.kind === 'full'
      ? new ProblemError(
          'store-full',
          'The store is full: nothing was accepted. Make room, then try again.',
          { cause: error }
        )
      : new ProblemError('unavailable', 'The store does not answer; try again.', {
          retryAfter: RETRY_AFTER,
          cause: error
        })
  }
  if (hasZodFastifySchemaValidationErrors(error))
    return asValidationProblem(error as unknown as FastifyError)
  const { statusCode, code, message } = (error ?? {}) as Partial<FastifyError>
  if (statusCode === undefined || statusCode < 400)
    return new ProblemError('internal', 'Something went wrong here; it was logged.', {
      cause: error
    })
  const slug = SLUG_OF_STATUS[statusCode] ?? (statusCode < 500 ? 'malformed' : 'internal')
  if (slug === 'internal')
    return new ProblemError(slug, 'Something went wrong here; it was logged.', { cause: error })
  const detail =
    code?.startsWith('FST_ERR_CTP_') && slug === 'malformed'
      ? `${message}.`.replace(/\.\.$/, '.')
      : DETAIL_OF[slug]
  return new ProblemError(slug, detail ?? PROBLEMS[slug].title, {
    cause: error,
    ...(slug === 'unavailable' || slug === 'rate-limited' ? { retryAfter: RETRY_AFTER } : {})
  })
}

function asValidationProblem(error: FastifyError): ProblemError {
  const inBody = error.validationContext === undefined || error.validationContext === 'body'
  const faults = faultsOf(
    error.validation!.map((issue) => ({
      path: issue.instancePath === '/' ? [] : issue.instancePath.split('/').slice(1),
      code: issue.keyword,
      message: issue.message ?? 'breaks a rule',
      keys: issue.params['keys'] as string[] | undefined
    }))
  )
  // A query parameter or a part of the path is known by its name.
  const errors: Fault[] = inBody
    ? faults
    : faults.map(({ pointer, detail }) => ({ pointer: pointer.slice(1), detail }))
  return new ProblemError('validation', summaryOf(errors), { errors, cause: error })
}

function sendProblem(
  request: FastifyRequest,
  reply: FastifyReply,
  problem: ProblemError,
  status: number = problem.statusCode
): FastifyReply {
  if (problem.retryAfter !== undefined) reply.header('retry-after', String(problem.retryAfter))
  if (problem.slug === 'unauthenticated' && !reply.hasHeader('www-authenticate'))
    reply.header('www-authenticate', 'Bearer')
  return reply
    .code(status)
    .header('cache-control', 'no-store')
    .type(PROBLEM_JSON)
    .send(
      JSON.stringify({
        ...problemDocument(problem.slug, problem.message, request.id, problem.errors),
        status
      })
    )
}

/** Every error answer is a problem document (RFC 9457); bodies are JSON in UTF-8 and nothing else. Registered before all routes. */
export default fp<ErrorOptions>(
  async (app, { basePath = '', onError, onRefusal }) => {
    const routes: { readonly pattern: RegExp; readonly methods: readonly string[] }[] = []
    const addresses = new Set<string>()
    app.addHook('onRoute', ({ url, method }) => {
      if (url.replace(/^\//, '') === '*') return
      const source = url
        .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
        .replace(/:\w+/g, '[^/]+')
        .replace(/\*/g, '.*')
      routes.push({ pattern: new RegExp(`^${source}$`), methods: [method].flat() })
      if (!url.includes('*')) addresses.add(url)
    })

    /** What the path could be asked with, were the method another. */
    function methodsOf(path: string): string[] {
      return [
        ...new Set(
          routes.filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => methods)
        )
      ].sort()
    }

    /** What to do about a path that leads nowhere: the nearest one that leads somewhere. */
    function nothingAt(path: string): string {
      const all = `All addresses: ${basePath}/documentation.`
      // Farther than a slip of the pen, or too long to compare.
      const near = path.length > MAX_COMPARED_PATH ? undefined : closest(path, [...addresses])
      if (near === undefined || distance(path, near) > MAX_SLIPS)
        return `There is nothing at this address. ${all}`
      return `There is nothing at this address. Did you mean ${near}? ${all}`
    }

    app.setErrorHandler((error, request, reply) => {
      let problem = asProblem(error)
      // No body at all is not a broken rule of it.
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

    app.setNotFoundHandler((request, reply) => {
      const path = request.url.split('?', 1)[0]!
      const methods = methodsOf(path)
      if (methods.length === 0)
        return sendProblem(request, reply, new ProblemError('not-found', nothingAt(path)))
      reply.header('allow', methods.join(', '))
      return sendProblem(
        request,
        reply,
        new ProblemError('method-not-allowed', `Ask with ${methods.join(' or ')}.`)
      )
    })

    // A path that takes no body does not mind one: it is neither parsed nor judged.
    app.addHook('preParsing', (request, _reply, payload, done) => {
      if (
        hasBody(request.raw) &&
        (request.is404 || request.routeOptions.schema?.body === undefined)
      )
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
  },
  { name: 'errors' }
)

/** The text of a JSON body, or undefined where `done` has been told that there is none to parse. */
export function decodeJson(
  request: FastifyRequest,
  body: Buffer,
  done: (error: Error | null, body?: unknown) => void
): string | undefined {
  const { 'content-encoding': encoding } = request.headers
  if (body.length === 0 && request.method === 'DELETE') done(null, undefined)
  else if (encoding !== undefined && encoding.toLowerCase() !== 'identity')
    done(
      new ProblemError(
        'unsupported-media-type',
        'Send the body as it is, without Content-Encoding.'
      )
    )
  else if (body.length === 0) done(new ProblemError('malformed', 'The body is empty; send JSON.'))
  else if (!isUtf8(body)) done(new ProblemError('malformed', 'The body is not valid UTF-8.'))
  // A byte order mark says nothing here (RFC 8259, 8.1).
  else return body.toString('utf8', startsWithMark(body) ? 3 : 0)
  return undefined
}

const startsWithMark = (body: Buffer): boolean =>
  body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf

/** Server option `frameworkErrors`: paths that the router cannot read. */
export function frameworkErrors(
  _error: FastifyError,
  request: FastifyRequest,
  reply: FastifyReply
): void {
  // No hook runs for them.
  carryHeaders(request, reply)
  sendProblem(
    request,
    reply,
    new ProblemError(
      'malformed',
      'The address cannot be read; check its percent-encoding and length.'
    )
  )
}

/** What HTTP/1.1 asks of every request (RFC 9112, 3.2; RFC 9110, 10.1.1). Node's own answers say nothing. */
export const httpRules = fp(
  async (app) => {
    app.server.on('checkExpectation', (request, response) =>
      app.server.emit('request', request, response)
    )
    app.addHook('onRequest', (request, reply, done) => {
      const { httpVersion, headers } = request.raw
      if (httpVersion === '1.1' && headers.host === undefined)
        done(new ProblemError('malformed', 'Send a Host header.'))
      else if (
        headers.expect !== undefined &&
        httpVersion === '1.1' &&
        !CONTINUE.test(headers.expect)
      ) {
        sendProblem(
          request,
          reply,
          new ProblemError('malformed', 'Send no Expect header, or Expect: 100-continue.'),
          417
        )
      } else done()
    })
  },
  { name: 'http-rules' }
)
/** As Node reads it. */
const CONTINUE = /(?:^|\W)100-continue(?:$|\W)/i

const CLIENT_ERRORS: Readonly<Record<string, { status: number; detail: string }>> = {
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, detail: 'The request took too long to arrive.' },
  HPE_HEADER_OVERFLOW: { status: 431, detail: 'The head of the request is too large.' }
}

/** Server option `clientErrorHandler`: what Node could not even read as a request, or not in time. */
export function clientErrorHandler(error: NodeJS.ErrnoException, socket: Socket): void {
  // An answer under way, or one that was given before the end of its request, must not have another after it.
  const { _httpMessage: current } = socket as Socket & { _httpMessage?: ServerResponse | null }
  const answered = lingers(socket)
  if (answered && socket.writableEnded) return
  if (error.code === 'ECONNRESET' || !socket.writable || answered || current?.headersSent) {
    socket.destroy()
    return
  }
  const { status, detail } = CLIENT_ERRORS[error.code ?? ''] ?? {
    status: 400,
    detail: 'This is not an HTTP request that can be read.'
  }
  const requestId = randomUUID()
  const body = JSON.stringify({ ...problemDocument('malformed', detail, requestId), status })
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nX-Request-Id: ${requestId}\r\nContent-Type: ${PROBLEM_JSON}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`
  // A request that was refused must not be completed by what comes after it.
  socket.removeAllListeners('data')
  socket.write(head + body)
  closeLingering(socket)
}
