import type { Socket } from 'node:net'
import fp from 'fastify-plugin'
import { MAX_LOOKS, MAX_ORDINARY_SOCKETS } from '../../bounds/limits.ts'
import { cutOldest } from './linger.ts'

// Module state, because files and memory are limits of the process.

/** Every open socket of a client. */
const open = new Set<Socket>()
/** Sockets without a stream, the least recently used first. */
const ordinary = new Set<Socket>()

function onClose(this: Socket): void {
  open.delete(this)
  ordinary.delete(this)
}

/**
 * Exempts a socket that becomes a stream from being closed to make room. Its listeners may be gone.
 */
export function keepOpen(socket: Socket): void {
  ordinary.delete(socket)
  if (open.has(socket)) socket.off('close', onClose).on('close', onClose)
}

/**
 * Closes the least recently used socket on which no response is due: it is idle or still sends a
 * request.
 */
function makeRoom(): void {
  let looks = MAX_LOOKS
  for (const socket of ordinary) {
    if (looks-- === 0) return
    ordinary.delete(socket)
    const { _httpMessage: answering } = socket as Socket & { _httpMessage?: unknown }
    if (!answering) return void socket.destroy()
    ordinary.add(socket)
  }
}

interface SocketsOptions {
  /** Most open sockets, streams included; Infinity if the system sets no limit. */
  readonly maxSockets: number
}

/**
 * Limits the sockets without a stream, so that a client that opens many idle ones cannot take the
 * files and memory that streams and health probes need. Every new socket is accepted; the least
 * recently used one is closed.
 */
export default fp<SocketsOptions>(
  async (app, { maxSockets }) => {
    app.server.on('connection', (socket) => {
      if (!open.has(socket)) socket.on('close', onClose)
      open.add(socket)
      ordinary.add(socket)
      if (ordinary.size > MAX_ORDINARY_SOCKETS || (open.size > maxSockets && !cutOldest()))
        makeRoom()
    })
    app.server.on('request', ({ socket }) => {
      if (!ordinary.delete(socket)) return
      ordinary.add(socket)
    })
    app.server.on('upgrade', (_request, socket: Socket) => keepOpen(socket))
  },
  { name: 'open-sockets' }
)
