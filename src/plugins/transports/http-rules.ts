import fp from 'fastify-plugin'
import { ProblemError } from '../schemas/problem.ts'
import { sendProblem } from './send-problem.ts'

/** As Node reads it. */
const CONTINUE = /(?:^|\W)100-continue(?:$|\W)/i

/** What HTTP/1.1 asks of every request (RFC 9112, 3.2; RFC 9110, 10.1.1). Node's own answers say nothing. */
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
          new ProblemError('malformed', 'Send no Expect header, or Expect: 100-continue.'),
          417
        )
      } else done()
    })
  },
  { name: 'http-rules' }
)
