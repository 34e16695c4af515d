import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import fp from 'fastify-plugin'
import { WAITING_REQUEST_BYTES } from '../../bounds/limits.ts'
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
      if ((socket as Answered)._httpMessage) waitBehind(socket, this, onSlow)
    }

    override writeHead(...args: never): this {
      if (isLast()) this.setHeader('connection', 'close')
      return super.writeHead(...(args as Parameters<ServerResponse['writeHead']>))
    }

    override end(...args: never): this {
      super.end(...(args as Parameters<ServerResponse['end']>))
      const { socket } = this
      // The kernel has most responses whole by now; they need no timer.
      if (socket && socket.writableLength > 0 && !this.writableFinished)
        awaitTaking(this, socket, stallMs, onSlow)
      return this
    }
  }
}

/** `_httpMessage` is Node's own reference to the response that is being sent on a socket. */
type Answered = Socket & { _httpMessage?: ServerResponse | null }

/** Makes a pipelined request wait for the response before it; meanwhile the socket is not read. */
function waitBehind(socket: Socket, response: ServerResponse, onSlow: () => void): void {
  socket.pause()
  response.once('socket', () => {
    release(socket, WAITING_REQUEST_BYTES)
    if (newest.get(socket) === response) socket.resume()
  })
  newest.set(socket, response)
  hold(socket, WAITING_REQUEST_BYTES, onSlow)
}
/** The last response that waits on each socket. */
const newest = new WeakMap<Socket, ServerResponse>()

/** The response that is due last on a socket, to the newest request that node:http has handed out. */
export function lastDue(socket: Socket): ServerResponse | undefined {
  const queued = newest.get(socket)
  if (queued && queued.socket === null && !queued.writableFinished) return queued
  return (socket as Answered)._httpMessage ?? undefined
}

/**
 * Whether this may be called by the parser of a request, which then must not be freed: it calls
 * promises back between the parts of a body, of this request or of one behind it.
 */
export const parserMayRun = (request: IncomingMessage, response: ServerResponse): boolean =>
  hasBody(request) || lastDue(request.socket) !== response

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

/**
 * Serves the requests of a connection one after the other, so that it buffers at most one response.
 * Register it before all other hooks.
 */
export const oneAtATime = fp(
  async (app) => {
    app.addHook('onRequest', (_request, { raw }, done) => {
      if (raw.socket === null) raw.once('socket', () => done())
      else done()
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
