import type { Socket } from 'node:net'
import { LINGER_BYTES, LINGER_MS, MAX_LINGERING } from '../../bounds/limits.ts'

/** Sockets whose last answer is written and whose peer may still send, the oldest first, and how each is let go. */
const lingering = new Map<Socket, () => void>()

/** Whether what comes from this socket is only read to be dropped. */
export const lingers = (socket: Socket): boolean => lingering.has(socket)

/**
 * Reads and drops what the peer still sends, within bounds, then cuts the connection. A socket that is closed with bytes unread
 * resets the connection, and the peer may lose the answer that is on its way (RFC 9112, 9.6). Returns a function that stops it.
 */
export function dropRest(socket: Socket): () => void {
  const cut = (): void => {
    socket.destroy()
  }
  let left = LINGER_BYTES
  const count = (chunk: Buffer): void => {
    left -= chunk.length
    if (left < 0) cut()
  }
  /**
   * A socket that node:http reads for its parser is read for its listeners from the first of them on. If it stood still at that moment,
   * because a body filled its stream, it would for ever: it has to flow before.
   */
  const read = (): void => {
    if (socket.isPaused()) return
    socket.off('resume', read).on('data', count)
  }
  const timer = setTimeout(cut, LINGER_MS).unref()
  const stop = (): void => {
    clearTimeout(timer)
    socket.off('resume', read).off('data', count).off('close', stop)
    lingering.delete(socket)
  }
  lingering.get(socket)?.()
  lingering.set(socket, stop)
  socket.once('close', stop).on('resume', read).pause().resume()
  if (lingering.size > MAX_LINGERING) cutOldest()
  return stop
}

/** Cuts the oldest whose answer is in the kernel's hands: closing it takes nothing from the peer. False if there is none. */
export function cutOldest(): boolean {
  for (const socket of lingering.keys()) {
    if (socket.writableLength > 0) continue
    socket.destroy()
    lingering.get(socket)?.()
    return true
  }
  return false
}

/** Ends our side, and the connection with the peer's. */
export function closeLingering(socket: Socket): void {
  if (socket.destroyed) return
  socket.end()
  dropRest(socket)
}
