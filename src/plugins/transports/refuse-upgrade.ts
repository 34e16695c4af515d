import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'

/**
 * node:http collects no more elements of `rawHeaders` than this: further headers, among them the
 * length of the body, may be missing.
 */
const CUT_HEADERS = 2000
/** Events whose listeners node:http leaves on a socket when it emits 'upgrade'. */
const LEFT_LISTENERS = ['timeout', 'pause', 'resume'] as const

/**
 * Serves a request for another protocol as an ordinary request (RFC 9110, 7.8). A server with an
 * 'upgrade' listener receives every upgrade request there, its body unread, so HTTP clients that
 * offer `h2c` with each request, such as Java's, would get no response. The head is put back into
 * the socket without `Upgrade`, and the server parses it again.
 */
export function refuseUpgrade(
  server: Server,
  request: IncomingMessage,
  socket: Socket,
  rest: Buffer
): void {
  const { rawHeaders } = request
  if (rawHeaders.length >= CUT_HEADERS) {
    socket.destroy()
    return
  }
  let head = `${request.method} ${request.url} HTTP/${request.httpVersion}\r\n`
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() !== 'upgrade')
      head += `${rawHeaders[i]}: ${rawHeaders[i + 1]}\r\n`
  }
  for (const event of LEFT_LISTENERS) socket.removeAllListeners(event)
  socket.unshift(Buffer.concat([Buffer.from(`${head}\r\n`, 'latin1'), rest]))
  server.emit('connection', socket)
}
