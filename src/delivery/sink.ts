import type { CloseReason } from './goodbye.ts'

/**
 * The wire end of one transport. Whoever holds a sink may write to it. A closed connection holds
 * none, so nothing can be written after the end.
 */
export interface Sink {
  readonly transport: 'sse' | 'websocket' | 'poll'
  /** Address of the client, as trusted proxies report it. */
  readonly remoteAddress: string
  /**
   * The other end of the TCP connection as `<address>|<port>`, to look it up in the kernel's socket
   * table; null if it has none.
   */
  readonly peer: string | null
  /** Hands over bytes; false asks the caller to wait for `connection.drained()`. Never throws. */
  write(bytes: Buffer): boolean
  /** Bytes that were written and that the kernel has not accepted yet. */
  readonly bufferedBytes: number
  /**
   * Writes the last bytes, if any, and ends. Cuts the client off if it does not read them within
   * seconds.
   */
  end(last: Buffer | null, reason: CloseReason): void
  /** Ends without last bytes: the client is gone, or does not read. */
  destroy(reason: CloseReason): void
}
