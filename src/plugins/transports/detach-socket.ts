import type { IncomingMessage, ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import { keepOpen } from './open-sockets.ts'
import { release } from './untaken.ts'

/**
 * The one place that uses what Node does not document. An idle stream that keeps its parser, request and response costs twice
 * the memory of a bare socket; letting go of them is worth 4–5 kB a connection. If these internals are missing, streams go through
 * the response object instead, which is the documented way and costs only memory.
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
    return null // a Node without this module: the documented way serves
  }
}

const known = internals()
const HTTP_EVENTS = [
  'data',
  'end',
  'close',
  'drain',
  'error',
  'timeout',
  'pause',
  'resume'
] as const

/** An 'error' without a listener ends the process. 'close' follows, and whoever owns the socket hears that. */
const ignoreError = (): void => {}

/**
 * Takes the socket of a request away from node:http, before anything was written: no parser, no listener but one for errors,
 * nothing that refers to request or response. Null where that is not possible.
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
  for (const event of HTTP_EVENTS) socket.removeAllListeners(event)
  known.freeParser(parser, request, socket)
  // node:http wraps these to hand the socket's reads to its parser; the prototype's own serve a bare socket.
  for (const wrapped of ['on', 'addListener', 'prependListener', 'setEncoding'] as const) {
    if (Object.hasOwn(socket, wrapped)) delete (socket as Partial<Socket>)[wrapped]
  }
  keepOpen(socket)
  // Requests behind this one are never answered.
  release(socket)
  // In this call, so that no caller can forget it: a peer may reset the connection at any time.
  socket.on('error', ignoreError)
  socket.setTimeout(0)
  return socket
}
