import type { Socket } from 'node:net'
import fp from 'fastify-plugin'
import { MAX_LOOKS, MAX_ORDINARY_SOCKETS } from '../../bounds/limits.ts'
import { cutOldest } from './linger.ts'

// Of the process, not of a server: so are the files and the memory that they bound.

/** Every socket that a caller opened. */
const open = new Set<Socket>()
/** Those that carry no stream, the longest unused first. */
const ordinary = new Set<Socket>()

function onClose(this: Socket): void {
  open.delete(this)
  ordinary.delete(this)
}

/** Takes a socket that becomes a stream out of those that may be closed to make room. Its listeners may be gone by now. */
export function keepOpen(socket: Socket): void {
  ordinary.delete(socket)
  if (open.has(socket)) socket.off('close', onClose).on('close', onClose)
}

/** Closes the one that is unused for longest: an idle connection, a head that does not come, an answer that has been given. */
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
  /** Sockets at a time, streams included; Infinity if the system sets no limit. */
  readonly maxSockets: number
}

/**
 * Bounds the sockets that carry no stream, so that nobody who opens many, and says little or nothing on them, takes the files and the
 * memory that streams and health probes need. Whoever comes is let in; the one that is unused for longest goes.
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
