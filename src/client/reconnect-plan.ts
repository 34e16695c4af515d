import type { Api } from './api.ts'
import { backoffMs } from './backoff.ts'
import { BellwireError } from './error.ts'
import type { Goodbye } from './frame.ts'
import type { Transport } from './transport.ts'
import type { Status } from './types.ts'

/** First and longest time on a lower rung before the top one is tried again. */
const CLIMB_MS = 20_000
const MAX_CLIMB_MS = 600_000
/** Failures on the top rung before the next one is tried: the transport may be at fault. */
const TRIES = 3

/**
 * Why this side ended a step: `on`, to go on at once with the next; `silent`, because nothing
 * arrived.
 */
export type Ended = 'on' | 'silent'

/** Receives the status of the connection, and the error behind it if there is one. */
export type TellStatus = (status: Status, error: Error | null) => void

/** Which transport comes next, and after which pause. */
export interface Plan {
  /** The transport of the next attempt. */
  current(): Transport
  /** Milliseconds until the best transport is tried again; Infinity if it is the current one. */
  climbInMs(): number
  /** The next attempt begins with the best transport. */
  top(): void
  /**
   * Decides what follows a connection. Returns the pause in milliseconds; undefined if only a
   * change can help. `heard`: a frame arrived; `steady`: the connection lasted.
   */
  next(
    retryMs: number,
    heard: boolean,
    steady: boolean,
    ended?: Ended,
    goodbye?: Goodbye,
    failure?: BellwireError
  ): number | undefined
}

/** `rungs` are the transports to try, best first. */
export function createPlan(api: Api, rungs: readonly Transport[], tell: TellStatus): Plan {
  let rung = 0
  let climbMs = CLIMB_MS
  let climbAt = 0
  let failures = 0
  /** Credentials rejected in a row; network failures do not count. */
  let denials = 0

  return {
    current: () => rungs[rung]!,
    climbInMs: () => (rung ? climbAt - performance.now() : Infinity),
    top() {
      rung = 0
    },
    next(retryMs, heard, steady, ended, goodbye, failure) {
      if (steady) {
        failures = 0
        if (!rung) climbMs = CLIMB_MS
      }
      if (ended === 'on') return 0
      const error = failure ?? (ended ? new BellwireError('silent', 'nothing arrives') : null)
      const code = error?.code
      // The credential expired or was rejected. Another may work, though after a revocation only
      // one issued in a later second. A cookie is tried again after a goodbye: it may have been
      // renewed.
      const denied = code === 'unauthenticated' || goodbye?.retryMs === null
      if (heard) denials = 0
      const another = denied && denials++ < TRIES && api.token.refused()
      if (code === 'forbidden' || (code === 'unauthenticated' && !another)) {
        tell('unauthorized', error)
        return undefined
      }
      const toldMs = goodbye ? goodbye.retryMs : failure?.retryAfterMs
      if (toldMs != null) {
        tell('connecting', error)
        return toldMs
      }
      // A good connection that ended for a reason of ours, not of the network, reconnects at once.
      if (steady && (ended || goodbye?.reason === 'expired')) return 0
      failures++
      tell(code === 'network' && !heard ? 'offline' : 'connecting', error)
      const pauseMs = backoffMs(failures, retryMs) + (denied ? 1_000 : 0)
      // Another rung helps if the network path is at fault; for silence one attempt proves that.
      if (heard || code === 'token' || (!rung && code !== 'silent' && failures % TRIES))
        return pauseMs
      if (!rungs[rung + 1]) {
        rung = 0
        return pauseMs
      }
      if (!rung++) {
        climbAt = performance.now() + climbMs
        climbMs = Math.min(MAX_CLIMB_MS, climbMs * 2)
      }
      return 0
    }
  }
}
