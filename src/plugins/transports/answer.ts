import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import fp from 'fastify-plugin'
import { WAITING_REQUEST_BYTES } from '../../bounds/limits.ts'
import { closeLingering, dropRest, lingers } from './linger.ts'
import { cut, hold, release } from './untaken.ts'

/** How answers are given. */
export interface AnswerOptions {
  /** Tells whether the process is about to end, and the caller must not send another request here. */
  readonly isLast: () => boolean
  /** How long a peer may take nothing of an answer. */
  readonly stallMs: number
  /** Hears of each connection that was cut since its peer does not read. */
  readonly onSlow: () => void
}

/**
 * The class of every answer that node:http makes, whoever writes it: a route, an error, a stream, Node itself. Server option
 * `ServerResponse`.
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
      // Most answers are in the kernel's hands by now, and cost nothing here.
      if (socket && socket.writableLength > 0 && !this.writableFinished)
        awaitTaking(this, socket, stallMs, onSlow)
      return this
    }
  }
}

/** Node's own mark of the answer that is under way on a socket. */
type Answered = Socket & { _httpMessage?: unknown }

/** A request that came before the answer to the one before it: it waits, and nothing more is read. */
function waitBehind(socket: Socket, response: ServerResponse, onSlow: () => void): void {
  socket.pause()
  response.once('socket', () => {
    release(socket, WAITING_REQUEST_BYTES)
    if (newest.get(socket) === response) socket.resume()
  })
  newest.set(socket, response)
  hold(socket, WAITING_REQUEST_BYTES, onSlow)
}
/** The last answer that waits on a socket. */
const newest = new WeakMap<Socket, ServerResponse>()

/** The end of an answer that the kernel did not take whole: it is counted until the peer has taken it, and cut if it takes nothing. */
function awaitTaking(
  response: ServerResponse,
  socket: Socket,
  stallMs: number,
  onSlow: () => void
): void {
  const bytes = socket.writableLength
  // Starts anew as long as the kernel takes something.
  const stalled = (): void => cut(socket)
  socket.setTimeout(stallMs, stalled)
  response.once('finish', () => {
    socket.off('timeout', stalled)
    // Unless Node has set its own, for the time until the next request.
    if ((socket as Answered)._httpMessage || lingers(socket)) socket.setTimeout(0)
    release(socket, bytes)
  })
  hold(socket, bytes, onSlow)
}

/**
 * Requests of one connection are served one after the other, so that it holds one answer at most. Registered before whatever looks at
 * requests.
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

export const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'

/**
 * An answer that comes before the end of its request is followed by reading the rest: a proxy that is still writing when the
 * connection is reset loses the answer, reports 502, and takes the node for dead.
 */
function readRest(this: ServerResponse): void {
  const { req } = this
  const { socket } = req
  if (req.complete) return
  const restore = (): boolean => Reflect.deleteProperty(socket, 'destroySoon')
  // What node:http calls behind an answer that is the last of its connection.
  socket.destroySoon = () => {
    restore()
    if (req.complete) return socket.destroySoon()
    closeLingering(socket)
    req.resume().once('end', () => socket.destroySoon())
  }
  this.once('finish', () => {
    restore()
    // The connection goes on. What came together with the head has been read by now.
    if (req.complete || socket.destroyed || lingers(socket)) return
    req.resume().once('end', dropRest(socket))
  })
}
