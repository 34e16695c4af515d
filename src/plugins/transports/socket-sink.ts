import type { Socket } from 'node:net'
import type { WebSocket } from '@fastify/websocket'
import type { Connection } from '../../delivery/connection.ts'
import type { CloseReason } from '../../delivery/goodbye.ts'
import type { Sink } from '../../delivery/sink.ts'

/** The code of the Close frame (RFC 6455, 7.4); null if the client cannot receive one. */
const CLOSE_CODES = {
  drain: 1001,
  rotate: 1001,
  unavailable: 1013,
  closed: 4000,
  expired: 4401,
  revoked: 4401,
  slow: 4408,
  limit: 4429,
  gone: null,
  stale: null
} as const satisfies Record<CloseReason, number | null>

/**
 * Writes to one WebSocket. The library handles the handshake, control frames and the client's
 * messages. Our frames are encoded once for all clients and bypass it. Both write whole frames in
 * one call, so frames never interleave.
 */
export class SocketSink implements Sink {
  readonly transport = 'websocket'
  readonly remoteAddress: string
  readonly peer: string
  readonly #webSocket: WebSocket
  readonly #socket: Socket

  constructor(webSocket: WebSocket, socket: Socket, remoteAddress: string) {
    this.#webSocket = webSocket
    this.#socket = socket
    this.remoteAddress = remoteAddress
    this.peer = `${socket.remoteAddress}|${socket.remotePort}`
    // If the client violates the protocol, the library sends the Close and emits 'close'. Replacing
    // its 'error' listener also frees the request that it referred to.
    webSocket.removeAllListeners('error').on('error', () => {})
  }

  /** Reports to the connection when the socket has drained and when the client is gone. */
  connect(connection: Connection): void {
    const gone = (): void => connection.close('gone')
    this.#socket.on('drain', () => connection.drained())
    // Whichever side closes first, our side of the socket ends with the closing handshake.
    this.#socket.once('finish', gone)
    this.#webSocket.once('close', gone)
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength
  }

  write(bytes: Buffer): boolean {
    // Nothing may follow a Close (RFC 6455, 5.5.1). It has been sent or received, and 'close'
    // follows.
    if (this.#webSocket.readyState !== this.#webSocket.OPEN) return true
    return this.#socket.write(bytes)
  }

  end(last: Buffer | null, reason: CloseReason): void {
    if (last) this.write(last)
    this.destroy(reason)
  }

  destroy(reason: CloseReason): void {
    const code = CLOSE_CODES[reason]
    // The library cuts the connection if the client does not answer the Close in time.
    if (code === null) this.#webSocket.terminate()
    else this.#webSocket.close(code, reason)
  }
}
