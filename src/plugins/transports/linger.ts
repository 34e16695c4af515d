import type { Socket } from 'node:net'
import { LINGER_BYTES, LINGER_MS, MAX_LINGERING } from '../../bounds/limits.ts'

/**
 * Sockets whose last response is written but whose client may still send, oldest first; the value
 * stops the reading.
 */
const lingering = new Map<Socket, () => void>()

/** Whether the data of this socket is only read to be discarded. */
export const lingers = (socket: Socket): boolean => lingering.has(socket)

/**
 * Reads and discards what the client still sends, within limits, then cuts the connection. Closing
 * a socket with unread bytes would reset the connection, and the client could lose the response
 * (RFC 9112, 9.6). Returns a function that stops it.
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
  // The first 'data' listener takes the socket away from the parser of node:http. If the socket is
  // paused at that moment, because a body has filled its stream, it stays paused for ever: wait
  // until it flows.
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

/**
 * Cuts the oldest lingering socket whose response the kernel has whole, so that its client loses
 * nothing. Returns false if there is none.
 */
export function cutOldest(): boolean {
  for (const socket of lingering.keys()) {
    if (socket.writableLength > 0) continue
    socket.destroy()
    lingering.get(socket)?.()
    return true
  }
  return false
}

/** Ends our side of the connection, which closes when the client ends its side or after a limit. */
export function closeLingering(socket: Socket): void {
  if (socket.destroyed) return
  socket.end()
  dropRest(socket)
}
