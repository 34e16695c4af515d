import type { CloseReason } from './close-reason.ts'

/**
 * The wire end of one transport. Whoever holds a sink may write to it; a connection that is closed holds none, so nothing
 * can be written to the dead.
 */
export interface Sink {
  readonly transport: 'sse' | 'websocket' | 'poll'
  /** Address of the client, as trusted proxies tell it. */
  readonly remoteAddress: string
  /** The other end of the TCP connection, `<address>|<port>`, to be found in the kernel's socket table; null where there is none. */
  readonly peer: string | null
  /** Hands over bytes; false asks the writer to wait until `connection.drained()`. Never throws. */
  write(bytes: Buffer): boolean
  /** Bytes accepted by `write` and not yet by the kernel. */
  readonly bufferedBytes: number
  /** Writes the last bytes, if any, and ends; cuts the peer off if it does not take them within a few seconds. */
  end(last: Buffer | null, reason: CloseReason): void
  /** Ends without last bytes: the peer is gone, or does not read. */
  destroy(reason: CloseReason): void
}
