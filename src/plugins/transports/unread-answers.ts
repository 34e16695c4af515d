import type { Socket } from 'node:net'
import { MAX_UNTAKEN_BYTES } from '../../bounds/limits.ts'

// Module state, because memory is a limit of the process.

/** Connections with bytes that their clients have not read, the oldest first. */
const untaken = new Map<Socket, { bytes: number; readonly onSlow: () => void }>()
let total = 0

/**
 * Counts `bytes` that the connection buffers until its client reads them. If all connections
 * together buffer too much, cuts the oldest, calling their `onSlow`.
 */
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

/** Uncounts `bytes` of a connection (all by default) that its client has read or never will. */
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

/** Cuts a connection whose client does not read, and calls its `onSlow`. */
export function cut(socket: Socket): void {
  const held = untaken.get(socket)
  release(socket)
  socket.destroy()
  held?.onSlow()
}

function forget(this: Socket): void {
  release(this)
}
