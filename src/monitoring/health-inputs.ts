import { MIN_ACKNOWLEDGEMENTS } from '../bounds/limits.ts'
import type { Hub } from '../delivery/hub.ts'
import type { Store } from '../log/store.ts'
import type { Latency, Stats } from './figures.ts'
import type { Vitals } from './health-rules.ts'
import type { SignInVitals } from './sign-ins.ts'

/** What of the vitals does not change while the process runs. */
export type Circumstances = Pick<
  Vitals,
  | 'developmentKeys'
  | 'ownKeys'
  | 'publicAddress'
  | 'maxConnections'
  | 'openFileLimit'
  | 'memoryBytes'
  | 'proxyTrusted'
>

/** What only the operating system can tell; see the plugin that asks it. */
export type HostFigures = Pick<Vitals, 'openFiles' | 'disk'>

/** A median of few is an anecdote. */
const median = (latency: Latency): number =>
  latency.count < MIN_ACKNOWLEDGEMENTS ? 0 : latency.summary().p50

/** The figures that the rules of health are held against, as they are now; those of the last second where they take a walk. */
export function vitalsOf(
  hub: Hub,
  store: Store,
  stats: Stats,
  signIns: SignInVitals,
  host: HostFigures,
  circumstances: Circumstances
): Vitals {
  const status = store.status()
  const { stale, slow, bufferedBytes, onlyAddress, heartbeatLagMs } = stats.census
  const { errors, resets, undone, slowCloses, arrivals, mostActive } = stats.perMinute
  return {
    ...circumstances,
    ...host,
    signIns,
    storeHealthy: status.healthy,
    storeReason: status.reason ?? stats.lastStoreFailure,
    storeFailures: stats.storeFailuresLately,
    storeWarnings: status.warnings ?? [],
    publishAckMs: median(stats.publishAck),
    commitMs: median(stats.commit),
    draining: hub.draining,
    active: hub.size,
    users: hub.users,
    stale,
    slow,
    bufferedBytes,
    onlyAddress,
    heartbeatLagMs,
    heartbeatMs: hub.heartbeatMs,
    errorsPerMinute: errors,
    lastErrorCode: stats.recent.at(-1)?.code,
    resetsPerMinute: resets,
    undonePerMinute: undone,
    undoneCursors: stats.undone,
    slowClosesPerMinute: slowCloses,
    arrivalsPerMinute: arrivals,
    mostActivePerMinute: mostActive,
    rejections: stats.producers.worst(),
    eventLoopLagMs: stats.eventLoopLagMs,
    silenceMs: stats.silenceMs,
    longestSilenceMs: stats.longestSilenceMs,
    sharedLifetime: stats.lifetimes.shared()
  }
}
