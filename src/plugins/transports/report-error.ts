import type { FastifyRequest } from 'fastify'
import { messageOf } from '../../monitoring/describe-error.ts'
import type { ProblemError } from '../schemas/problem.ts'

/** The request in which an error occurred. */
export interface ErrorContext {
  readonly requestId: string
  /** Method and pattern of the route, which contain no text of the caller. */
  readonly route: string
  /** The error itself; missing for errors of the caller. */
  readonly err?: unknown
}

/**
 * Called for each error that is not the caller's fault; `code` is its slug, `message` is for
 * operators.
 */
export type OnError = (code: string, message: string, context: ErrorContext) => void

/** Longest message that is reported, in characters. */
const MAX_MESSAGE = 200

/** The id and route of a request. */
export const contextOf = (request: FastifyRequest): ErrorContext => ({
  requestId: request.id,
  route: `${request.method} ${request.routeOptions.url ?? ''}`
})

/** Whether the client has closed its connection, so that no response can reach it. */
export const hasLeft = (request: FastifyRequest): boolean => request.raw.socket.destroyed

/**
 * Reports a problem that is not the caller's fault. If the client has left, only an internal error
 * is reported: any other may be a consequence of its leaving.
 */
export function reportError(
  request: FastifyRequest,
  problem: ProblemError,
  onError: OnError
): void {
  if (hasLeft(request) && problem.slug !== 'internal') return
  const inner = problem.cause ?? problem
  onError(problem.slug, messageOf(inner).slice(0, MAX_MESSAGE), {
    ...contextOf(request),
    err: inner
  })
}
