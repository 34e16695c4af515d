import { EventEmitter } from 'node:events'
import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import websocket from '@fastify/websocket'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { CLOSE_ANSWER_MS, MAX_CLIENT_MESSAGE_BYTES } from '../bounds/limits.ts'
import type { Reservation } from '../delivery/admission.ts'
import { goodbyeToRefused, type Refusal } from '../delivery/close-reason.ts'
import { socketCodec } from '../delivery/codec.ts'
import type { Hub } from '../delivery/hub.ts'
import { asCursor } from '../log/cursor.ts'
import { asProblem } from './schemas/as-problem.ts'
import { ProblemError } from './schemas/problem.ts'
import { cursorOf, StreamQuery } from './schemas/stream.ts'
import { selectTopics } from './schemas/topics.ts'
import { hasBody } from './transports/answer.ts'
import { refuseUpgrade } from './transports/refuse-upgrade.ts'
import { hasLeft, type OnError, reportError } from './transports/report-error.ts'
import { SocketSink } from './transports/socket-sink.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** For a WebSocket that is being opened, or why it will not be. */
    reservation?: Reservation | Refusal
  }
}

interface SocketOptions {
  readonly hub: Hub
  readonly onError: OnError
}

type Query = (typeof StreamQuery)['_output']

/** Sixteen bytes in base64 (RFC 6455, 4.2.1). */
const HANDSHAKE_KEY = /^[A-Za-z0-9+/]{22}==$/

/**
 * `GET /v1/socket`: the events and cursors of the stream as WebSocket messages. What a credential is refused for is an HTTP error before
 * the upgrade; what may pass is a goodbye and a close code after it, for a page cannot see the status of a failed handshake.
 */
export default fp<SocketOptions>(
  async (instance, { hub, onError }) => {
    const path = `${instance.prefix}/v1/socket`
    const isOurs = (request: IncomingMessage): boolean =>
      request.method === 'GET' &&
      request.headers.upgrade?.toLowerCase() === 'websocket' &&
      request.url?.split('?', 1)[0] === path &&
      // No handshake has a body: what comes with one is an ordinary request, and its body is read.
      !hasBody(request)
    /** The upgrades that are for us; the library hears of no other. */
    const upgrades = new EventEmitter()
    const onUpgrade = (request: IncomingMessage, socket: Socket, rest: Buffer): void => {
      // Behind an answer that is still due, which node:http tells no other way. Browsers and proxies do not pipeline.
      if ((socket as Socket & { _httpMessage?: unknown })._httpMessage) socket.destroy()
      else if (isOurs(request)) upgrades.emit('upgrade', request, socket, rest)
      else refuseUpgrade(instance.server, request, socket, rest)
    }
    instance.server.on('upgrade', onUpgrade)
    // Newer lines of Node ask before they stop to read; others know nothing of this.
    Object.assign(instance.server, { shouldUpgradeCallback: isOurs })

    const options = {
      server: upgrades as Server,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: MAX_CLIENT_MESSAGE_BYTES,
      closeTimeout: CLOSE_ANSWER_MS
    }
    // In a scope of its own, so that its hooks are no other route's.
    await instance.register(async (app) => {
      // The hub ends the connections, not the library.
      await app.register(websocket, { options, preClose: (done) => done() })
      app.route<{ Querystring: Query }>({
        method: 'GET',
        url: '/v1/socket',
        schema: {
          tags: ['stream'],
          operationId: 'openSocket',
          summary: 'Receive notifications by WebSocket',
          description:
            'The events of the stream, each as one text message `{"event","id"?,"data"}`. Messages from the client mean nothing. Close codes: 1001 drain or rotate, 1013 unavailable, 4000 closed, 4401 expired or revoked, 4408 slow, 4429 limit; a goodbye says when to come back. Behind a cookie, `Origin` must be ours or in CORS_ORIGINS.',
          security: [{ ticket: [] }, { bearer: [] }, { cookie: [] }],
          querystring: StreamQuery,
          produces: ['websocket']
        },
        preHandler: admit,
        handler: (_request, reply) => {
          throw upgradeRequired(reply)
        },
        wsHandler: async (webSocket, request) => {
          const { subscriber, query, reservation = 'unavailable' } = request
          const sink = new SocketSink(webSocket, request.raw.socket, request.ip)
          const after = cursorOf(request, query)
          if (typeof reservation === 'string') return refuse(sink, reservation, after)
          request.raw.socket.off('close', reservation.release)
          // The client may have left meanwhile; nobody would tell us any more.
          if (webSocket.readyState === webSocket.CLOSED) return reservation.release()
          const refusal = reservation.refusal()
          if (refusal) {
            reservation.release()
            return refuse(sink, refusal, after)
          }
          const topics = selectTopics(subscriber, query.topics)
          sink.connect(
            reservation.open({
              subscriber,
              topics,
              sink,
              codec: socketCodec,
              after,
              items: query.items,
              requestId: request.id
            })
          )
        }
      })
    })

    /** `preHandler` hook: leaves a subscriber and a place with the request, or none if nobody can tell who it is. */
    async function admit(request: FastifyRequest, reply: FastifyReply): Promise<void> {
      if (!request.ws) return
      // The socket of a handshake carries no second request.
      reply.header('connection', 'close')
      const { headers } = request
      if (headers['sec-websocket-version'] !== '13') throw upgradeRequired(reply)
      if (!HANDSHAKE_KEY.test(headers['sec-websocket-key'] ?? ''))
        throw new ProblemError(
          'malformed',
          'Sec-WebSocket-Key must be sixteen random bytes in base64.'
        )
      try {
        await instance.requireSubscriber(request)
        // Browsers open WebSockets to anywhere and send the cookies along: no CORS stands before them.
        if (instance.isForeignPage(request))
          throw new ProblemError(
            'forbidden',
            'This origin may not read with a cookie; add it to CORS_ORIGINS, or use a ticket.'
          )
        selectTopics(request.subscriber, (request.query as Query).topics)
        request.reservation = await hub.admit(request.subscriber.user, request.ip, request.redeem)
      } catch (error) {
        const problem = asProblem(error)
        if (problem.slug !== 'unavailable') throw error
        reportError(request, problem, onError)
      }
      const { reservation } = request
      if (typeof reservation === 'object') {
        // Given back if the connection ends before the upgrade is done.
        if (hasLeft(request)) reservation.release()
        else request.raw.socket.once('close', reservation.release)
      }
      if (hasLeft(request)) {
        reply.hijack()
        return
      }
      // Answered by the upgrade from here on: the response need not outlive it.
      reply.raw.detachSocket(request.raw.socket)
    }

    function upgradeRequired(reply: FastifyReply): ProblemError {
      reply.headers({
        upgrade: 'websocket',
        connection: 'upgrade, close',
        'sec-websocket-version': '13'
      })
      return new ProblemError(
        'upgrade-required',
        'Open this address as a WebSocket (RFC 6455), version 13.'
      )
    }

    /** When to come back, why, the cursor that came in, and the end. */
    function refuse(sink: SocketSink, reason: Refusal, after: string | undefined): void {
      hub.observer.refused(reason)
      sink.end(socketCodec.frame('goodbye', goodbyeToRefused(reason).data, asCursor(after)), reason)
    }
  },
  { name: 'socket', dependencies: ['auth'] }
)
