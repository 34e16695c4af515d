import { randomUUID } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { MAX_HEAD_BYTES } from '../../bounds/limits.ts'
import { ProblemError, problemDocument } from '../schemas/problem.ts'
import { lastDue } from './answer.ts'
import { setCommonHeaders } from './common-headers.ts'
import { closeLingering, lingers } from './linger.ts'
import { PROBLEM_JSON, sendProblem } from './send-problem.ts'

/** Server option `frameworkErrors`: answers requests whose path the router cannot parse. */
export function frameworkErrors(
  _error: FastifyError,
  request: FastifyRequest,
  reply: FastifyReply
): void {
  // Fastify runs no hooks for them.
  setCommonHeaders(request, reply)
  sendProblem(
    request,
    reply,
    new ProblemError(
      'malformed',
      'The address cannot be parsed: check its percent-encoding and length.'
    )
  )
}

/** Errors of Node's HTTP parser with a status of their own; all others are 400. */
const CLIENT_ERRORS: Readonly<Record<string, { status: number; detail: string }>> = {
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: 408,
    detail: 'The request did not arrive in time: send it again.'
  },
  HPE_HEADER_OVERFLOW: {
    status: 431,
    detail: `The head of the request is over ${MAX_HEAD_BYTES / 1024} KiB: send fewer or shorter cookies and headers.`
  }
}

/** Sockets whose newest request is invalid, and waits for the responses before its own. */
const rejected = new WeakSet<Socket>()

/**
 * Server option `clientErrorHandler`: answers what Node could not parse as a request, or did not
 * receive in time.
 */
export function clientErrorHandler(error: NodeJS.ErrnoException, socket: Socket): void {
  const current = lastDue(socket)
  const left = error.code === 'ECONNRESET' || !socket.writable
  // The requests before it are complete, and may have been carried out: their responses come first.
  if (current?.req.complete && !current.headersSent && !left) {
    if (rejected.has(socket)) return
    rejected.add(socket)
    current.once('finish', () => clientErrorHandler(error, socket))
    return
  }
  // A response that is being sent, or was sent before the end of its request, must stay the only
  // one.
  const answered = lingers(socket)
  if (answered && socket.writableEnded) return
  if (left || answered || current?.headersSent) {
    socket.destroy()
    return
  }
  const { status, detail } = CLIENT_ERRORS[error.code ?? ''] ?? {
    status: 400,
    detail: 'This is not a valid HTTP request.'
  }
  const requestId = randomUUID()
  const body = JSON.stringify({ ...problemDocument('malformed', detail, requestId), status })
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nX-Request-Id: ${requestId}\r\nContent-Type: ${PROBLEM_JSON}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`
  // What still arrives must not complete the rejected request.
  socket.removeAllListeners('data')
  socket.write(head + body)
  closeLingering(socket)
}
