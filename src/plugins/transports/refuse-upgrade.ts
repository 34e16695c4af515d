import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'

/** Elements of `rawHeaders` at which node:http stops to collect: there may have been more, the length of the body among them. */
const CUT_HEADERS = 2000
/** What node:http listens to on a socket beside those it takes off itself before an upgrade. */
const LEFT_LISTENERS = ['timeout', 'pause', 'resume'] as const

/**
 * Serves a request that asked for another protocol as if it had not (RFC 9110, 7.8): to whoever listens for upgrades, node:http gives
 * all of them, with bodies unread. HTTP clients that offer `h2c` with every request, as Java's does, would get no answer. The
 * head is put back in front of the socket without its `Upgrade`, and the socket starts over.
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
