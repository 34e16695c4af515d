import type { Socket } from 'node:net'
import type { WebSocket } from '@fastify/websocket'
import type { CloseReason } from '../../delivery/close-reason.ts'
import type { Connection } from '../../delivery/connection.ts'
import type { Sink } from '../../delivery/sink.ts'

/** What a peer is told by the Close (RFC 6455, 7.4); null where there is nobody to tell. */
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
 * The wire end of one WebSocket. The library has the handshake, control frames and what the peer sends; our frames are built whole,
 * once for all readers, and go to the socket past it. Both write whole frames in one call, so none is ever inside another.
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
    // A peer that breaks the protocol is told so by the library, and 'close' follows. This also lets go of the request, which
    // the listener before ours held.
    webSocket.removeAllListeners('error').on('error', () => {})
  }

  /** Tells the connection what happens to the wire: it drained, or the peer is gone. */
  connect(connection: Connection): void {
    const gone = (): void => connection.close('gone')
    this.#socket.on('drain', () => connection.drained())
    // Whoever closes first, the writing side ends with the closing handshake.
    this.#socket.once('finish', gone)
    this.#webSocket.once('close', gone)
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength
  }

  write(bytes: Buffer): boolean {
    // Behind a Close nothing may follow (RFC 6455, 5.5.1): the peer has sent one, and its end is on the way.
    if (this.#webSocket.readyState !== this.#webSocket.OPEN) return true
    return this.#socket.write(bytes)
  }

  end(last: Buffer | null, reason: CloseReason): void {
    if (last) this.write(last)
    this.destroy(reason)
  }

  destroy(reason: CloseReason): void {
    const code = CLOSE_CODES[reason]
    // The library cuts off a peer that does not answer the Close in time.
    if (code === null) this.#webSocket.terminate()
    else this.#webSocket.close(code, reason)
  }
}
