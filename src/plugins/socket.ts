import type { Server } from 'node:http'
import websocket, { type WebSocket } from '@fastify/websocket'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { CLOSE_ANSWER_MS, MAX_CLIENT_MESSAGE_BYTES } from '../bounds/limits.ts'
import { socketCodec } from '../delivery/codec.ts'
import { type Refusal, refusalFrame } from '../delivery/goodbye.ts'
import type { Hub } from '../delivery/hub.ts'
import { asCursor } from '../log/cursor.ts'
import { SUBSCRIBER_CREDENTIALS } from './schemas/answers.ts'
import { ProblemError } from './schemas/problem.ts'
import { cursorOf, StreamQuery } from './schemas/stream.ts'
import { type Admitted, type ReceiveOptions, receive } from './transports/receive.ts'
import { SocketSink } from './transports/socket-sink.ts'
import { upgradesTo } from './transports/upgrades.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Whether a WebSocket handshake may open a connection; undefined for other requests. */
    received?: Admitted | Refusal
  }
}

type SocketRequest = FastifyRequest<{ Querystring: StreamQuery }>

/** Sixteen bytes in base64 (RFC 6455, 4.2.1). */
const HANDSHAKE_KEY = /^[A-Za-z0-9+/]{22}==$/

const documented = {
  tags: ['stream'],
  operationId: 'openSocket',
  summary: 'Receive notifications by WebSocket',
  description:
    'The events of the stream, each as one text message `{"event","id"?,"data"}`. Messages from the client are ignored. Close codes: 1001 drain or rotate, 1013 unavailable, 4000 closed, 4401 expired or revoked, 4408 slow, 4429 limit; a goodbye says when to reconnect. With a cookie, `Origin` must be Bellwire’s own or in CORS_ORIGINS.',
  security: SUBSCRIBER_CREDENTIALS,
  querystring: StreamQuery,
  produces: ['websocket']
}

/**
 * `GET /v1/socket`: the events and cursors of the stream as WebSocket messages. A rejected
 * credential is an HTTP error before the upgrade. A temporary refusal is a goodbye and a close code
 * after it, because a page cannot see the status of a failed handshake.
 */
export default fp<ReceiveOptions>(
  async (instance, options) => {
    // In a scope of its own, so that the library's hooks run for no other route.
    await instance.register(async (app) => {
      await app.register(websocket, {
        options: webSocketOptions(instance),
        // The hub closes the connections, not the library.
        preClose: (done) => done()
      })
      app.decorateRequest('received')
      app.route<{ Querystring: StreamQuery }>({
        method: 'GET',
        url: '/v1/socket',
        schema: documented,
        preHandler: (request, reply) => admit(instance, request, reply, options),
        handler: (_request, reply) => {
          throw upgradeRequired(reply)
        },
        wsHandler: async (webSocket, request) => connect(options.hub, webSocket, request)
      })
    })
  },
  { name: 'socket', dependencies: ['auth'] }
)

const webSocketOptions = ({ server, prefix }: FastifyInstance) => ({
  // The library listens only to 'upgrade'.
  server: upgradesTo(server, `${prefix}/v1/socket`) as Server,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: MAX_CLIENT_MESSAGE_BYTES,
  closeTimeout: CLOSE_ANSWER_MS
})

/**
 * `preHandler` hook: decides whether the request may open a connection, and sets
 * `request.received`.
 */
async function admit(
  app: FastifyInstance,
  request: SocketRequest,
  reply: FastifyReply,
  options: ReceiveOptions
): Promise<void> {
  if (!request.ws) return
  // A handshake is the last request of its socket.
  reply.header('connection', 'close')
  checkHandshake(request, reply)
  const received = await receive(app, request, request.query, options, () => {
    // CORS does not apply: browsers open WebSockets to any origin and send cookies along.
    if (app.isForeignPage(request)) throw foreignPage()
  })
  if (received === 'left') {
    reply.hijack()
    return
  }
  request.received = received
  const { socket } = request.raw
  // Released if the connection closes before the upgrade is complete.
  if (typeof received === 'object') socket.once('close', received.reservation.release)
  // From here on the upgrade is the response, so the response object can be freed.
  reply.raw.detachSocket(socket)
}

/** Opens the connection after the upgrade, or closes it with the reason of the refusal. */
function connect(hub: Hub, webSocket: WebSocket, request: SocketRequest): void {
  const { query, received = 'unavailable' } = request
  const sink = new SocketSink(webSocket, request.raw.socket, request.ip)
  if (typeof received === 'string') return refuse(hub, sink, received, cursorOf(request, query))
  const { asked, reservation } = received
  request.raw.socket.off('close', reservation.release)
  const refusal = reservation.refusal()
  const left = webSocket.readyState === webSocket.CLOSED
  if (left || refusal !== null) reservation.release()
  if (left) return
  if (refusal !== null) return refuse(hub, sink, refusal, asked.cursor)
  sink.connect(reservation.open({ ...asked, sink, codec: socketCodec }))
}

/** Sends a goodbye with the reason and the cursor of the request, then closes with a close code. */
function refuse(hub: Hub, sink: SocketSink, reason: Refusal, cursor: string | undefined): void {
  hub.observer.refused(reason)
  sink.end(refusalFrame(socketCodec, reason, asCursor(cursor)), reason)
}

/** Throws if the request is not a handshake of this version (RFC 6455, 4.2.1). */
function checkHandshake({ headers }: SocketRequest, reply: FastifyReply): void {
  if (headers['sec-websocket-version'] !== '13') throw upgradeRequired(reply)
  if (!HANDSHAKE_KEY.test(headers['sec-websocket-key'] ?? ''))
    throw new ProblemError('malformed', 'Sec-WebSocket-Key must be sixteen random bytes in base64.')
}

const foreignPage = (): ProblemError =>
  new ProblemError(
    'forbidden',
    'Pages of this origin may not read with a cookie: add it to CORS_ORIGINS, or use a ticket.'
  )

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
