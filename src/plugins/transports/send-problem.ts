import type { FastifyReply, FastifyRequest } from 'fastify'
import { type ProblemError, problemDocument } from '../schemas/problem.ts'

/** Media type of every error response (RFC 9457, 3). */
export const PROBLEM_JSON = 'application/problem+json; charset=utf-8'

/** Sends a problem document. Pass `status` for a status that has no slug of its own. */
export function sendProblem(
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
