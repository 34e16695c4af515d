import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import type { Reservation } from '../delivery/admission.ts'
import { pollCodec } from '../delivery/codec.ts'
import type { Hub } from '../delivery/hub.ts'
import { answers, SUBSCRIBER_CREDENTIALS } from './schemas/answers.ts'
import { ProblemError } from './schemas/problem.ts'
import { ChangesAnswer, ChangesQuery } from './schemas/stream.ts'
import { type PollAnswer, PollSink } from './transports/poll-sink.ts'
import { type Asked, askedBy } from './transports/receive.ts'

interface PollOptions {
  readonly hub: Hub
}

/** `Retry-After` of a refused poll, seconds. */
const RETRY_AFTER = 5

const documented = {
  tags: ['stream'],
  operationId: 'pollChanges',
  summary: 'Poll for notifications',
  description:
    'Responds as soon as there is an event, or without events after `wait` seconds. Without a cursor it returns one `ready`. `limit` counts events of the log; if the counts do not follow from the events alone, a final `heartbeat` carries `counts`.',
  security: SUBSCRIBER_CREDENTIALS,
  querystring: ChangesQuery,
  reads: ['Last-Event-ID'] as const,
  response: answers({ 200: ChangesAnswer })
}

/** `GET /v1/changes`: the events and cursors of the stream by long polling. */
export default fp<PollOptions>(
  async (instance, { hub }) => {
    const app = instance.withTypeProvider<ZodTypeProvider>()
    app.get(
      '/v1/changes',
      {
        onRequest: app.requireSubscriber,
        config: app.rateLimits.subscriber,
        schema: documented
      },
      async (request, reply) => {
        const asked = askedBy(request, request.query)
        reply.header('cache-control', 'private, no-store').type('application/json; charset=utf-8')
        // A HEAD request has nothing to wait for.
        if (request.method === 'HEAD') return reply.send()
        const { limit, wait } = request.query
        const reservation = wait > 0 && !hub.draining ? await reserve(hub, request) : undefined
        if (!reservation) {
          // A poll that does not wait is an ordinary request: connection limits do not apply.
          if (hub.refusal(request.subscriber.user, request.ip) === 'unavailable')
            throw storeUnavailable()
          await request.redeem()
        }
        const opener = reservation ?? hub
        const answer = await poll(opener, request, asked, limit, reservation ? wait : 0)
        if (answer.cursor === null)
          throw new ProblemError('unavailable', 'The log could not be read: try again.', {
            retryAfter: RETRY_AFTER
          })
        return reply.send(
          `{"events":[${answer.events}],"cursor":"${answer.cursor}","more":${answer.more}}`
        )
      }
    )
  },
  { name: 'poll', dependencies: ['auth', 'rate-limit'] }
)

/**
 * Reserves a connection for a poll that waits; undefined if the node drains: the poll does not
 * wait.
 */
async function reserve(hub: Hub, request: FastifyRequest): Promise<Reservation | undefined> {
  const { user } = request.subscriber
  const admitted = await hub.admit(user, request.ip, request.redeem, { countsTowardRate: false })
  if (admitted === 'drain') return undefined
  if (admitted === 'unavailable') throw storeUnavailable()
  if (admitted !== 'limit') return admitted
  hub.observer.refused('limit')
  throw new ProblemError(
    'rate-limited',
    'Too many connections are open: close one, or try again later.',
    { retryAfter: RETRY_AFTER }
  )
}

const storeUnavailable = (): ProblemError =>
  new ProblemError('unavailable', 'The store is not responding: try again.', {
    retryAfter: RETRY_AFTER
  })

/** Polls once, waiting up to `wait` seconds for an event. */
function poll(
  opener: Pick<Hub, 'poll'>,
  { ip, raw: { socket } }: FastifyRequest,
  asked: Asked,
  limit: number,
  wait: number
): Promise<PollAnswer> {
  return new Promise((resolve) => {
    const sink = new PollSink(ip, resolve)
    const waits = wait > 0
    const opened = opener.poll({ ...asked, sink, codec: pollCodec, limit, waits })
    sink.connect(opened)
    const gone = (): void => opened.close('gone')
    // If the client left during the admission, the socket has already emitted 'close'.
    if (socket.destroyed) gone()
    else if (waits) {
      const timer = setTimeout(() => opened.close('closed'), wait * 1000)
      socket.once('close', gone)
      sink.answered(() => {
        clearTimeout(timer)
        socket.off('close', gone)
      })
    }
  })
}
