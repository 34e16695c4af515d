import type { Api } from './api.ts'
import type { Frame } from './frame.ts'

/** What a transport tells while it is open. */
export interface Listener {
  /** The place to go on from. */
  cursor(): string | null
  hear(frame: Frame): void
  /** The service names the delay before a reconnect. */
  retry(ms: number): void
}

/** One rung of the ladder. */
export interface Transport {
  readonly status: 'live' | 'polling'
  /** How long the first sign of life may take, milliseconds. */
  readonly firstMs: number
  /** How long silence is no sign of death. */
  silentMs(heartbeatMs: number): number
  /** Runs until the other side ends it, which resolves, or it fails. */
  open(api: Api, pageSize: number, listener: Listener, signal: AbortSignal): Promise<void>
}
