import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import fp from 'fastify-plugin'
import { MAX_PIPELINED, WAITING_REQUEST_BYTES } from '../../bounds/limits.ts'
import { closeLingering, dropRest, lingers } from './linger.ts'
import { cut, hold, release } from './unread-answers.ts'

/** How responses are sent. */
export interface AnswerOptions {
  /** Tells whether the process is about to exit, so that the response must close the connection. */
  readonly isLast: () => boolean
  /** How long a client may stop reading a response, milliseconds. */
  readonly stallMs: number
  /** Called for each connection that was cut because its client does not read. */
  readonly onSlow: () => void
}

/**
 * The class of every response, whether a route, an error handler, a stream or Node itself writes
 * it. Pass it as server option `ServerResponse`.
 */
export function answerClass({ isLast, stallMs, onSlow }: AnswerOptions): typeof ServerResponse {
  return class NodeAnswer<
    Request extends IncomingMessage = IncomingMessage
  > extends ServerResponse<Request> {
    constructor(request: Request, ...options: []) {
      super(request, ...options)
      if (hasBody(request)) this.once('prefinish', readRest)
      const { socket } = request
      const { _httpMessage: answering } = socket as Answered
      if (answering) waitBehind(socket, answering, this, onSlow)
    }

    override writeHead(...args: never): this {
      if (isLast()) this.setHeader('connection', 'close')
      return super.writeHead(...(args as Parameters<ServerResponse['writeHead']>))
    }

    override end(...args: never): this {
      super.end(...(args as Parameters<ServerResponse['end']>))
      const sent = (): void => {
        const { socket } = this
        // The kernel has most responses whole by now; they need no timer.
        if (socket && socket.writableLength > 0 && !this.writableFinished)
          awaitTaking(this, socket, stallMs, onSlow)
      }
      if (this.socket) sent()
      else this.once('socket', () => process.nextTick(sent))
      return this
    }
  }
}

/** `_httpMessage` is Node's own reference to the response that is being sent on a socket. */
type Answered = Socket & { _httpMessage?: ServerResponse }

/** How many responses wait on each socket, and the newest of them. */
const queues = new WeakMap<Socket, { size: number; last: ServerResponse }>()
/** The response before one that waits. */
const before = new WeakMap<ServerResponse, ServerResponse>()
/** Responses whose requests were handed to a route that `startsAtOnce`. */
const started = new WeakSet<ServerResponse>()

/**
 * Queues the response of a pipelined request behind `answering`. Meanwhile the socket is not read,
 * except for more POST requests.
 */
function waitBehind(
  socket: Socket,
  answering: ServerResponse,
  response: ServerResponse,
  onSlow: () => void
): void {
  const queue = queues.get(socket) ?? { size: 0, last: answering }
  queues.set(socket, queue)
  before.set(response, queue.last)
  queue.last = response
  queue.size++
  if (response.req.method !== 'POST' || queue.size >= MAX_PIPELINED) socket.pause()
  response.once('socket', () => {
    release(socket, WAITING_REQUEST_BYTES)
    before.delete(response)
    if (--queue.size > 0) return
    queues.delete(socket)
    socket.resume()
  })
  hold(socket, WAITING_REQUEST_BYTES, onSlow)
}

/**
 * Counts the bytes of a response that the kernel did not take whole, until the client has read
 * them. Cuts the connection if the client reads nothing for `stallMs`.
 */
function awaitTaking(
  response: ServerResponse,
  socket: Socket,
  stallMs: number,
  onSlow: () => void
): void {
  const bytes = socket.writableLength
  // The timeout restarts whenever the kernel takes something.
  const stalled = (): void => cut(socket)
  socket.setTimeout(stallMs, stalled)
  response.once('finish', () => {
    socket.off('timeout', stalled)
    // Otherwise the connection is idle, and Node has set its own timeout: keep that.
    if ((socket as Answered)._httpMessage || lingers(socket)) socket.setTimeout(0)
    release(socket, bytes)
  })
  hold(socket, bytes, onSlow)
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * Whether a pipelined request starts at once if all before it on the connection are of such
     * routes, too, rather than after their answers. Only for routes that do the same in either
     * case, and answer in a few bytes.
     */
    startsAtOnce?: boolean
  }
}

/**
 * Serves the requests of a connection one after the other, so that it buffers at most one long
 * response. Publishing is the exception: what arrives together is committed together. Register it
 * before all other hooks.
 */
export const oneAtATime = fp(
  async (app) => {
    app.addHook('onRequest', ({ routeOptions: { config } }, { raw }, done) => {
      const start = (): void => {
        if (config.startsAtOnce) started.add(raw)
        done()
      }
      const previous = before.get(raw)
      if (raw.socket || (config.startsAtOnce && previous && started.has(previous))) start()
      else raw.once('socket', start)
    })
  },
  { name: 'one-at-a-time' }
)

/** Whether a request has a body (RFC 9112, 6.3). */
export const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'

/**
 * Reads the rest of a request that was answered before its end. If the connection were reset, a
 * proxy that is still sending the request would lose the response, return 502 and mark the node as
 * down.
 */
function readRest(this: ServerResponse): void {
  const { req } = this
  const { socket } = req
  if (req.complete) return
  const restore = (): boolean => Reflect.deleteProperty(socket, 'destroySoon')
  // node:http calls this after the last response of a connection.
  socket.destroySoon = () => {
    restore()
    if (req.complete) return socket.destroySoon()
    closeLingering(socket)
    req.resume().once('end', () => socket.destroySoon())
  }
  this.once('finish', () => {
    restore()
    // The connection is kept open. What arrived together with the head has been read by now.
    if (req.complete || socket.destroyed || lingers(socket)) return
    req.resume().once('end', dropRest(socket))
  })
}
