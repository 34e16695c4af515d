import type { Api } from './api.ts'
import type { Frame } from './frame.ts'

/** What a transport calls while it is open. */
export interface Listener {
  /** The cursor to resume from; undefined for a fresh page. */
  cursor(): string | undefined
  hear(frame: Frame): void
  /** The service sets the delay before a reconnect. */
  retry(ms: number): void
}

/**
 * One way to receive frames. While `live`, silence for a few heartbeats means the connection is
 * dead.
 */
export interface Transport {
  /** The status of the inbox once the first frame has arrived. */
  readonly status: 'live' | 'polling' | 'connecting'
  /** Resolves when the other side ends the connection; rejects if it fails. */
  open(api: Api, items: number, listener: Listener, signal: AbortSignal): Promise<void>
}
