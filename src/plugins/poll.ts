import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { pollCodec } from '../delivery/codec.ts'
import type { Hub } from '../delivery/hub.ts'
import { answers } from './schemas/answers.ts'
import { ProblemError } from './schemas/problem.ts'
import { ChangesAnswer, ChangesQuery, cursorOf } from './schemas/stream.ts'
import { selectTopics } from './schemas/topics.ts'
import { type PollAnswer, PollSink } from './transports/poll-sink.ts'

interface ChangesOptions {
  readonly hub: Hub
}

/** `GET /v1/changes`: the events and cursors of the stream, one answer at a time. The same connection, with a sink that takes one write. */
export default fp<ChangesOptions>(
  async (instance, { hub }) => {
    const app = instance.withTypeProvider<ZodTypeProvider>()
    app.get(
      '/v1/changes',
      {
        onRequest: app.requireSubscriber,
        config: app.rateLimits.subscriber,
        schema: {
          tags: ['stream'],
          operationId: 'pollChanges',
          summary: 'Poll for notifications',
          description:
            'Answers as soon as there is one event, or empty when `wait` is over. Without a cursor: one `ready`. `limit` counts events of the log; if the counts cannot be followed from the events alone, one `heartbeat` with `counts` ends the answer.',
          security: [{ ticket: [] }, { bearer: [] }, { cookie: [] }],
          querystring: ChangesQuery,
          reads: ['Last-Event-ID'],
          response: answers({ 200: ChangesAnswer })
        }
      },
      async (request, reply) => {
        const subscriber = request.subscriber
        const topics = selectTopics(subscriber, request.query.topics)
        reply.header('cache-control', 'private, no-store').type('application/json; charset=utf-8')
        // Only the head is asked for: nothing to wait for, nothing to take a place for.
        if (request.method === 'HEAD') return reply.send()
        const after = cursorOf(request, request.query)
        const wait = hub.draining ? 0 : request.query.wait
        const poll = (opener: Pick<Hub, 'poll'>, wait: number): Promise<PollAnswer> =>
          new Promise((resolve) => {
            const sink = new PollSink(request.ip, resolve)
            const connection = opener.poll({
              subscriber,
              topics,
              sink,
              codec: pollCodec,
              after,
              items: request.query.items,
              requestId: request.id,
              limit: request.query.limit,
              waits: wait > 0
            })
            sink.connect(connection)
            const { socket } = request.raw
            // Who left while the place was asked for is not heard any more.
            if (socket.destroyed) connection.close('gone')
            else if (wait > 0) {
              const timer = setTimeout(() => connection.close('closed'), wait * 1000)
              socket.once('close', gone)
              sink.answered(() => {
                clearTimeout(timer)
                socket.off('close', gone)
              })
            }
            function gone(): void {
              connection.close('gone')
            }
          })
        const away = () =>
          new ProblemError('unavailable', 'The store does not answer; try again.', {
            retryAfter: 5
          })
        const { user } = subscriber
        const admitted =
          wait > 0 ? await hub.admit(user, request.ip, request.redeem, { rated: false }) : 'drain'
        if (admitted === 'unavailable') throw away()
        if (admitted === 'limit') {
          hub.observer.refused('limit')
          throw new ProblemError(
            'rate-limited',
            'Too many connections are open; close one, or come back later.',
            {
              retryAfter: 5
            }
          )
        }
        if (admitted === 'drain') {
          // A poll that does not wait is a request like any other: it takes nobody's place.
          if (hub.refusal(user, request.ip) === 'unavailable') throw away()
          await request.redeem()
        }
        const answer = admitted === 'drain' ? await poll(hub, 0) : await poll(admitted, wait)
        if (answer.cursor === null)
          throw new ProblemError('unavailable', 'The log could not be read; try again.', {
            retryAfter: 5
          })
        return reply.send(
          `{"events":[${answer.events}],"cursor":"${answer.cursor}","more":${answer.more}}`
        )
      }
    )
  },
  { name: 'poll', dependencies: ['auth', 'rate-limit'] }
)
