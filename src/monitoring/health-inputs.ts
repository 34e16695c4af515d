import { MIN_ACKNOWLEDGEMENTS } from '../bounds/limits.ts'
import type { Hub } from '../delivery/hub.ts'
import type { Operator, StoreWarning } from '../log/store.ts'
import type { Latency } from './latency.ts'
import type { SharedLifetime } from './lifetimes.ts'
import type { Rejections } from './producer-minute.ts'
import type { SignInState } from './sign-ins.ts'
import type { PerMinute, Stats } from './stats.ts'

/** What health depends on that does not change while the process runs. */
export interface FixedInputs {
  /** Settings that still have their development key. */
  readonly developmentKeys: readonly string[]
  /** Settings that hold a key or secret of the operator's own. */
  readonly ownKeys: readonly string[]
  /** Whether the process listens on an address that others can reach. */
  readonly publicAddress: boolean
  /** 0: no limit. */
  readonly maxConnections: number
  /** Undefined: unknown. */
  readonly openFileLimit: number | undefined
  /** Memory that the process may use. */
  readonly memoryBytes: number
  readonly proxyTrusted: boolean
}

/** What only the operating system knows; undefined: it does not say. */
export interface HostFigures {
  readonly openFiles: number | undefined
  /** Of the disk that holds the store; undefined also for a store without one. */
  readonly disk: { readonly freeBytes: number; readonly totalBytes: number } | undefined
}

/** What happened in the last minute: `errors` becomes `errorsPerMinute`. */
type MinuteInputs = { readonly [K in keyof PerMinute as `${K}PerMinute`]: PerMinute[K] }

/** Everything the health rules look at. Shares are 0–1, durations milliseconds. */
export interface HealthInputs extends FixedInputs, HostFigures, MinuteInputs {
  readonly signIns: SignInState
  readonly storeHealthy: boolean
  /** Why it is not, or why its last request failed. */
  readonly storeReason: string | undefined
  readonly storeWarnings: readonly StoreWarning[]
  /**
   * Requests that the store failed in the last ten seconds. A healthy store can fail some: a full
   * disk takes small writes and refuses large ones.
   */
  readonly storeFailures: number
  /** Median of the last minute; 0: too few to tell. */
  readonly publishAckMs: number
  /** Median of the last minute; 0: too few to tell. */
  readonly commitMs: number
  readonly draining: boolean
  /** Open connections. */
  readonly active: number
  readonly users: number
  readonly stale: number
  readonly slow: number
  readonly bufferedBytes: number
  readonly lastErrorCode: string | undefined
  /** Cursors of this log that point at an event it does not have, since the start. */
  readonly undoneCursors: number
  /** Publishes refused in the last minute; null: none. */
  readonly rejections: Rejections | null
  readonly eventLoopLagMs: number
  readonly heartbeatLagMs: number
  readonly heartbeatMs: number
  /** Time since the last accepted publish; null: there was none yet. */
  readonly silenceMs: number | null
  /** The longest pause between two accepted publishes. */
  readonly longestSilenceMs: number
  readonly sharedLifetime: SharedLifetime | null
  /** The address that all connections come from; null: several, or no connection. */
  readonly onlyAddress: string | null
}

/** A median of a few values means nothing. */
const median = (latency: Latency): number =>
  latency.count < MIN_ACKNOWLEDGEMENTS ? 0 : latency.summary().p50

const minuteInputs = (counts: PerMinute): MinuteInputs =>
  Object.fromEntries(
    Object.entries(counts).map(([name, count]) => [`${name}PerMinute`, count])
  ) as MinuteInputs

/** Collects the inputs; what takes a walk over the connections is at most a second old. */
export function healthInputs(
  hub: Hub,
  store: Pick<Operator, 'status'>,
  stats: Stats,
  signIns: SignInState,
  host: HostFigures,
  fixed: FixedInputs
): HealthInputs {
  const status = store.status()
  const { stale, slow, bufferedBytes, onlyAddress, heartbeatLagMs } = stats.summary
  return {
    ...fixed,
    ...minuteInputs(stats.perMinute),
    openFiles: host.openFiles,
    disk: host.disk,
    signIns,
    storeHealthy: status.healthy,
    storeReason: status.reason ?? stats.lastStoreFailure,
    storeFailures: stats.storeFailuresLately,
    storeWarnings: status.warnings ?? [],
    publishAckMs: median(stats.publishAck),
    commitMs: median(stats.commit),
    draining: hub.draining,
    active: hub.connections.size,
    users: hub.connections.users,
    stale,
    slow,
    bufferedBytes,
    onlyAddress,
    heartbeatLagMs,
    heartbeatMs: hub.heartbeatMs,
    lastErrorCode: stats.errors.recent.at(-1)?.code,
    undoneCursors: stats.undoneCursors.value,
    rejections: stats.publishes.producers.worst(),
    eventLoopLagMs: stats.load.eventLoopLagMs,
    silenceMs: stats.publishes.silenceMs,
    longestSilenceMs: stats.publishes.longestSilenceMs,
    sharedLifetime: stats.connections.lifetimes.shared()
  }
}
