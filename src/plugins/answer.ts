import { type IncomingMessage, ServerResponse } from 'node:http'
import { closeLingering, dropRest, lingers } from './linger.ts'

/**
 * The class of every answer that node:http makes, whoever writes it: a route, an error, a stream, Node itself. Server option
 * `ServerResponse`. `isLast` tells whether the process is about to end, and the caller must not send another request here.
 */
export function answerClass(isLast: () => boolean): typeof ServerResponse {
  return class Answer<Request extends IncomingMessage = IncomingMessage> extends ServerResponse<Request> {
    constructor(request: Request, ...options: []) {
      super(request, ...options)
      if (hasBody(request)) this.once('prefinish', readRest)
    }

    override writeHead(...args: never): this {
      if (isLast()) this.setHeader('connection', 'close')
      return super.writeHead(...(args as Parameters<ServerResponse['writeHead']>))
    }
  }
}

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
