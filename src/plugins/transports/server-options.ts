import type { Server } from 'node:http'
import type { FastifyHttpOptions } from 'fastify'
import { HEAD_MS, MAX_HEAD_BYTES, REQUEST_CHECK_MS, REQUEST_MS } from '../../bounds/limits.ts'
import { type AnswerOptions, answerClass } from './answer.ts'
import { clientErrorHandler, frameworkErrors } from './client-errors.ts'

/**
 * How connections are treated before and after a route has its say, as options of Fastify.
 */
export function serverOptions(answers: AnswerOptions) {
  return {
    // Longer than the idle time of the load balancers in front, so that they close first.
    keepAliveTimeout: 75_000,
    requestTimeout: REQUEST_MS - REQUEST_CHECK_MS,
    http: {
      // Answered by `httpRules`.
      requireHostHeader: false,
      headersTimeout: HEAD_MS - REQUEST_CHECK_MS,
      connectionsCheckingInterval: REQUEST_CHECK_MS,
      // Node refuses the head that reaches the figure.
      maxHeaderSize: MAX_HEAD_BYTES + 1,
      ServerResponse: answerClass(answers)
    },
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    clientErrorHandler,
    frameworkErrors
  } as const satisfies FastifyHttpOptions<Server>
}
