import type { FastifyRequest } from 'fastify'
import { messageOf } from '../../monitoring/describe-error.ts'
import type { ProblemError } from '../schemas/problem.ts'

/** Where an error came up. */
export interface ErrorPlace {
  readonly requestId: string
  /** Method and pattern of the route: no part of it was chosen by the caller. */
  readonly route: string
  readonly err?: unknown
}

/** Hears of every error that is ours; `message` is for operators. */
export type OnError = (code: string, message: string, place: ErrorPlace) => void

/** Longest text about an error that is kept. */
const MAX_MESSAGE = 200

/** Where a request goes. */
export const placeOf = (request: FastifyRequest): ErrorPlace => ({
  requestId: request.id,
  route: `${request.method} ${request.routeOptions.url ?? ''}`
})

/** Whether the client closed its connection: nobody is left to be answered. */
export const hasLeft = (request: FastifyRequest): boolean => request.raw.socket.destroyed

/**
 * Reports a problem that is not the caller's fault. If the client has left meanwhile, it is its
 * leaving that counts, not what it would have been told; a fault of our own is reported all the same.
 */
export function reportError(
  request: FastifyRequest,
  problem: ProblemError,
  onError: OnError
): void {
  if (hasLeft(request) && problem.slug !== 'internal') return
  const inner = problem.cause ?? problem
  onError(problem.slug, messageOf(inner).slice(0, MAX_MESSAGE), { ...placeOf(request), err: inner })
}
