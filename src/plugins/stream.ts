import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { goodbyeToRefused, type Refusal } from '../delivery/close-reason.ts'
import { sseCodec } from '../delivery/codec.ts'
import type { Hub } from '../delivery/hub.ts'
import { asCursor } from '../log/cursor.ts'
import { asProblem } from './schemas/as-problem.ts'
import { cursorOf, StreamQuery } from './schemas/stream.ts'
import { selectTopics } from './schemas/topics.ts'
import { hasLeft, type OnError, reportError } from './transports/report-error.ts'
import { SseSink, sendHeadOnly } from './transports/sse-sink.ts'

interface StreamOptions {
  readonly hub: Hub
  readonly onError: OnError
}

/**
 * `GET /v1/stream`. Browsers never retry an EventSource after a status other than 200, so a credential that is refused is an
 * error, and everything that may pass is a 200 that says when to come back.
 */
export default fp<StreamOptions>(
  async (instance, { hub, onError }) => {
    const app = instance.withTypeProvider<ZodTypeProvider>()
    const schema = {
      tags: ['stream'],
      operationId: 'openStream',
      summary: 'Receive notifications as server-sent events',
      description:
        'Frames: ready, notification, state, reset, heartbeat, goodbye; each with an id, the cursor to go on from (a goodbye that comes first has the one that came in, if there was one). Limits, draining and trouble behind the service are answered 200 with retry, goodbye and the end.',
      security: [{ ticket: [] }, { bearer: [] }, { cookie: [] }],
      querystring: StreamQuery,
      reads: ['Last-Event-ID'] as const,
      produces: ['text/event-stream']
    }

    app.get('/v1/stream', { schema, exposeHeadRoute: false }, async (request, reply) => {
      try {
        await app.requireSubscriber(request)
        if (hasLeft(request)) return leave(reply)
        return await open(request, reply)
      } catch (error) {
        const problem = asProblem(error)
        if (problem.slug !== 'unavailable') throw error
        reportError(request, problem, onError)
        return hasLeft(request) ? leave(reply) : refuse(request, reply, 'unavailable')
      }
    })

    async function open(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
      const { query, subscriber, redeem } = request as FastifyRequest & { query: StreamQuery }
      const topics = selectTopics(subscriber, query.topics)
      const admitted = await hub.admit(subscriber.user, request.ip, redeem)
      // The client may have left meanwhile; nobody would tell us any more.
      if (hasLeft(request)) {
        if (typeof admitted !== 'string') admitted.release()
        return leave(reply)
      }
      if (typeof admitted === 'string') return refuse(request, reply, admitted)
      const after = cursorOf(request, query)
      const sink = SseSink.open(request, reply)
      sink.connect(
        admitted.open({
          subscriber,
          topics,
          sink,
          codec: sseCodec,
          after,
          items: query.items,
          requestId: request.id
        })
      )
      return reply
    }

    const headOnly = {
      schema: {
        ...schema,
        operationId: 'checkStream',
        summary: 'Check a credential for the stream'
      },
      config: { swagger: { exposeHeadRoute: true } }
    }
    app.head('/v1/stream', headOnly, async (request, reply) => {
      await app.requireSubscriber(request)
      selectTopics(request.subscriber, request.query.topics)
      return sendHeadOnly(reply)
    })

    /** Nobody is there to be answered. */
    function leave(reply: FastifyReply): FastifyReply {
      reply.hijack()
      return reply
    }

    /** 200, when to come back, why, the cursor that came in, and the end. */
    function refuse(request: FastifyRequest, reply: FastifyReply, reason: Refusal): FastifyReply {
      hub.observer.refused(reason)
      const { data, retryMs } = goodbyeToRefused(reason)
      const cursor = asCursor(cursorOf(request, request.query as StreamQuery))
      SseSink.open(request, reply).end(sseCodec.frame('goodbye', data, cursor, retryMs))
      return reply
    }
  },
  { name: 'stream', dependencies: ['auth'] }
)
