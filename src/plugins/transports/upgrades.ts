import { EventEmitter } from 'node:events'
import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import { hasBody } from './answer.ts'
import { refuseUpgrade } from './refuse-upgrade.ts'

/**
 * Returns an emitter of 'upgrade' for the WebSocket handshakes of one path. Other upgrade requests
 * are served as ordinary requests.
 */
export function upgradesTo(server: Server, path: string): EventEmitter {
  const isOurs = (request: IncomingMessage): boolean =>
    request.method === 'GET' &&
    request.headers.upgrade?.toLowerCase() === 'websocket' &&
    request.url?.split('?', 1)[0] === path &&
    // A handshake has no body. A request with one is an ordinary request, so that its body is read.
    !hasBody(request)
  const upgrades = new EventEmitter()
  server.on('upgrade', (request: IncomingMessage, socket: Socket, rest: Buffer) => {
    // A pipelined upgrade whose turn has not come: `_httpMessage` is the response before it.
    // Browsers and proxies do not pipeline.
    if ('_httpMessage' in socket && socket._httpMessage) socket.destroy()
    else if (isOurs(request)) upgrades.emit('upgrade', request, socket, rest)
    else refuseUpgrade(server, request, socket, rest)
  })
  // Newer versions of Node call this before they stop parsing; older ones ignore it.
  Object.assign(server, { shouldUpgradeCallback: isOurs })
  return upgrades
}
