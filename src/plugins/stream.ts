import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { sseCodec } from '../delivery/codec.ts'
import { type Refusal, refusalFrame } from '../delivery/goodbye.ts'
import { asCursor } from '../log/cursor.ts'
import { SUBSCRIBER_CREDENTIALS } from './schemas/answers.ts'
import { cursorOf, StreamQuery } from './schemas/stream.ts'
import { selectTopics } from './schemas/topics.ts'
import { type ReceiveOptions, receive } from './transports/receive.ts'
import { SseSink, sendHeadOnly } from './transports/sse-sink.ts'

const documented = {
  tags: ['stream'],
  operationId: 'openStream',
  summary: 'Receive notifications as server-sent events',
  description:
    'Frames: ready, notification, state, reset, heartbeat, goodbye; each has an id, the cursor to resume from. A goodbye that comes first repeats the cursor of the request, if it had one. If a limit is reached, the node drains or the store fails, the response is a 200 with retry and a goodbye, and ends.',
  security: SUBSCRIBER_CREDENTIALS,
  querystring: StreamQuery,
  reads: ['Last-Event-ID'] as const,
  produces: ['text/event-stream']
}

/**
 * `GET /v1/stream`. Browsers never retry an EventSource after a status other than 200, so only a
 * rejected credential or query is an error. A temporary refusal is a 200 that says when to
 * reconnect.
 */
export default fp<ReceiveOptions>(
  async (instance, options) => {
    const app = instance.withTypeProvider<ZodTypeProvider>()

    app.get(
      '/v1/stream',
      { schema: documented, exposeHeadRoute: false },
      async (request, reply) => {
        const received = await receive(app, request, request.query, options)
        if (received === 'left') return reply.hijack()
        if (typeof received === 'string') return refuse(request, request.query, reply, received)
        const sink = await SseSink.open(request, reply)
        const { asked, reservation } = received
        sink.connect(reservation.open({ ...asked, sink, codec: sseCodec }))
        return reply
      }
    )

    app.head(
      '/v1/stream',
      {
        schema: {
          ...documented,
          operationId: 'checkStream',
          summary: 'Check a credential for the stream'
        },
        config: { swagger: { exposeHeadRoute: true } }
      },
      async (request, reply) => {
        await app.requireSubscriber(request)
        selectTopics(request.subscriber, request.query.topics)
        return sendHeadOnly(reply)
      }
    )

    /** Answers 200 with the retry time and a goodbye (reason, cursor of the request), then ends. */
    async function refuse(
      request: FastifyRequest,
      query: StreamQuery,
      reply: FastifyReply,
      reason: Refusal
    ): Promise<FastifyReply> {
      options.hub.observer.refused(reason)
      const cursor = asCursor(cursorOf(request, query))
      const sink = await SseSink.open(request, reply)
      sink.end(refusalFrame(sseCodec, reason, cursor))
      return reply
    }
  },
  { name: 'stream', dependencies: ['auth'] }
)
