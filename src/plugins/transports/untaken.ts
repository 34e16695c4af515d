import type { Socket } from 'node:net'
import { MAX_UNTAKEN_BYTES } from '../../bounds/limits.ts'

// Of the process, not of a server: so is the memory that it bounds.

/** Connections that hold what their peers have not taken, the longest first, and how much each. */
const untaken = new Map<Socket, { bytes: number; readonly onSlow: () => void }>()
let total = 0

/** Counts bytes that this connection holds until its peer takes them; cuts the connections that have waited longest if it is too much. */
export function hold(socket: Socket, bytes: number, onSlow: () => void): void {
  const held = untaken.get(socket)
  if (held) held.bytes += bytes
  else if (!socket.destroyed) {
    untaken.set(socket, { bytes, onSlow })
    socket.once('close', forget)
  } else return
  total += bytes
  for (const oldest of untaken.keys()) {
    if (total <= MAX_UNTAKEN_BYTES) return
    cut(oldest)
  }
}

/** So many bytes of them have been taken, or are not for this connection any more. */
export function release(socket: Socket, bytes = Number.POSITIVE_INFINITY): void {
  const held = untaken.get(socket)
  if (!held) return
  const released = Math.min(bytes, held.bytes)
  total -= released
  held.bytes -= released
  if (held.bytes > 0) return
  untaken.delete(socket)
  socket.off('close', forget)
}

/** Ends a connection whose peer does not read, and says so. */
export function cut(socket: Socket): void {
  const held = untaken.get(socket)
  release(socket)
  socket.destroy()
  held?.onSlow()
}

function forget(this: Socket): void {
  release(this)
}
