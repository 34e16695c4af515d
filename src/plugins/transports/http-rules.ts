import fp from 'fastify-plugin'
import { ProblemError } from '../schemas/problem.ts'
import { sendProblem } from './send-problem.ts'

/** The pattern by which Node recognizes `100-continue`. */
const CONTINUE = /(?:^|\W)100-continue(?:$|\W)/i

/**
 * Checks what HTTP/1.1 requires of every request: a Host header (RFC 9112, 3.2) and no unknown
 * expectation (RFC 9110, 10.1.1). Node's own responses have no body.
 */
export default fp(
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
          new ProblemError('malformed', 'Send Expect: 100-continue, or no Expect header.'),
          417
        )
      } else done()
    })
  },
  { name: 'http-rules' }
)
