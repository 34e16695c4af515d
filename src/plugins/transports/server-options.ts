import type { Server } from 'node:http'
import type { FastifyHttpOptions } from 'fastify'
import { HEAD_MS, MAX_HEAD_BYTES, REQUEST_CHECK_MS, REQUEST_MS } from '../../bounds/limits.ts'
import { type AnswerOptions, answerClass } from './answer.ts'
import { clientErrorHandler, frameworkErrors } from './client-errors.ts'

/** Options of Fastify for connections, responses, and requests that reach no route. */
export function serverOptions(answers: AnswerOptions) {
  return {
    // Longer than the idle timeout of common load balancers, so that they close first.
    keepAliveTimeout: 75_000,
    requestTimeout: REQUEST_MS - REQUEST_CHECK_MS,
    http: {
      // The plugin `http-rules` answers a missing Host.
      requireHostHeader: false,
      headersTimeout: HEAD_MS - REQUEST_CHECK_MS,
      connectionsCheckingInterval: REQUEST_CHECK_MS,
      // Node rejects a head of exactly this size.
      maxHeaderSize: MAX_HEAD_BYTES + 1,
      ServerResponse: answerClass(answers)
    },
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    clientErrorHandler,
    frameworkErrors
  } as const satisfies FastifyHttpOptions<Server>
}
