import { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import { Socket } from 'node:net'
import { keepOpen } from './open-sockets.ts'
import { release } from './unread-answers.ts'

/**
 * Undocumented functions of Node that free the parser, request and response of a stream, which
 * saves 4–5 kB per connection, half of an idle one. If a version of Node lacks them, streams write
 * to the response object, as documented; that costs only memory.
 */
interface Internals {
  freeParser(parser: unknown, request: IncomingMessage, socket: Socket): void
}
type Detachable = ServerResponse & { detachSocket?: (socket: Socket) => void }
type Parsed = Socket & { parser?: unknown; _httpMessage?: unknown }

function internals(): Internals | null {
  try {
    const common = createRequire(import.meta.url)('_http_common') as Partial<Internals>
    return typeof common.freeParser === 'function' ? (common as Internals) : null
  } catch {
    return null // this version of Node lacks the module
  }
}

const known = internals()
/** What node:http overrides, to pass reads to its parser. */
const WRAPPED = ['on', 'addListener', 'prependListener', 'setEncoding'] as const

/** An 'error' without a listener would end the process. 'close' follows and reaches the owner. */
const ignoreError = (): void => {}

/**
 * Detaches the socket of a request from node:http before anything is written. The socket then has
 * no parser, only a listener for errors, and no reference to the request or response. Returns null
 * if that is not possible.
 */
export function detachSocket(request: IncomingMessage, response: ServerResponse): Socket | null {
  const socket = request.socket as Parsed
  const detachable = response as Detachable
  if (
    known === null ||
    response.headersSent ||
    !detachable.detachSocket ||
    !socket.parser ||
    socket._httpMessage !== response
  )
    return null
  const { parser } = socket
  detachable.detachSocket(socket)
  // That of the prototype: the override of streams would also stop the flow of data.
  EventEmitter.prototype.removeAllListeners.call(socket)
  known.freeParser(parser, request, socket)
  // A bare socket uses the methods of the prototype. They are assigned, because an object with
  // deleted properties takes more memory.
  for (const name of WRAPPED)
    if (Object.hasOwn(socket, name)) Object.assign(socket, { [name]: Socket.prototype[name] })
  keepOpen(socket)
  // Pipelined requests after this one are never answered.
  release(socket)
  // The client may reset the connection at any time.
  socket.on('error', ignoreError)
  socket.setTimeout(0)
  return socket
}
