import type { Api } from './api.ts'
import type { Frame } from './frame.ts'

/** What a transport tells while it is open. */
export interface Listener {
  /** The place to go on from. */
  cursor(): string | undefined
  hear(frame: Frame): void
  /** The service names the delay before a reconnect. */
  retry(ms: number): void
}

/** One rung of the ladder. `live`: silence for longer than a few heartbeats is a sign of death. */
export interface Transport {
  /** What the inbox is once the first frame is there. */
  readonly status: 'live' | 'polling' | 'connecting'
  /** Runs until the other side ends it, which resolves, or it fails. */
  open(api: Api, items: number, listener: Listener, signal: AbortSignal): Promise<void>
}
