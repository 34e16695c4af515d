import { EventEmitter } from 'node:events'
import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import { hasBody } from './answer.ts'
import { refuseUpgrade } from './refuse-upgrade.ts'

/**
 * Emits `upgrade` for the WebSocket handshakes of one path. Requests that ask for any other upgrade are
 * served as ordinary requests.
 */
export function upgradesTo(server: Server, path: string): EventEmitter {
  const isOurs = (request: IncomingMessage): boolean =>
    request.method === 'GET' &&
    request.headers.upgrade?.toLowerCase() === 'websocket' &&
    request.url?.split('?', 1)[0] === path &&
    // A handshake has no body: a request with one is an ordinary request, and its body is read.
    !hasBody(request)
  const upgrades = new EventEmitter()
  server.on('upgrade', (request: IncomingMessage, socket: Socket, rest: Buffer) => {
    // Behind an answer that is still due, which node:http tells in no other way. Browsers and proxies do not pipeline.
    if ('_httpMessage' in socket && socket._httpMessage) socket.destroy()
    else if (isOurs(request)) upgrades.emit('upgrade', request, socket, rest)
    else refuseUpgrade(server, request, socket, rest)
  })
  // Newer lines of Node ask before they stop to parse; older ones ignore this.
  Object.assign(server, { shouldUpgradeCallback: isOurs })
  return upgrades
}
