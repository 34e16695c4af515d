import { LASTING_MS, MIN_POPULATION } from '../../bounds/limits.ts'
import type { HealthInputs } from '../health-inputs.ts'
import { mib, percent, type Rule, shareOf } from './rule.ts'

/** Default time-outs of well-known proxies, by seconds, and the setting to change. */
const KNOWN_TIMEOUTS: Readonly<Record<number, string>> = {
  30: 'timeoutSec of the backend service of a Google Cloud load balancer',
  50: 'timeout client and timeout server of HAProxy',
  55: 'the 55 s limit of the Heroku router, which only traffic within that time avoids',
  60: 'proxy_read_timeout of nginx, idle_timeout of an AWS application load balancer, ProxyTimeout of Apache',
  100: 'the Proxy Read Timeout of Cloudflare',
  230: 'the idle time-out of the Azure App Service front end',
  240: 'the idle time-out of an Azure load balancer',
  300: 'timeoutSeconds of Cloud Run, the stream idle time-out of Envoy',
  350: 'the idle time-out of an AWS network load balancer'
}

function timeoutAction({ sharedLifetime, heartbeatMs }: HealthInputs): string {
  const seconds = sharedLifetime?.seconds ?? 0
  const known = KNOWN_TIMEOUTS[seconds]
  const where = known
    ? `${seconds} s is the default of ${known}.`
    : 'Look for a time-out of that length in each proxy on the path.'
  // A proxy that cuts streams despite more frequent heartbeats does not do so for silence.
  return heartbeatMs >= seconds * 1000
    ? `Streams are silent for that long: set HEARTBEAT_MS to ${Math.max(100, Math.floor((seconds * 1000) / 2))} or less, or raise the time-out. ${where}`
    : `Heartbeats are more frequent, so the proxy ends responses whatever is sent, or holds them back: raise its time-out above MAX_CONNECTION_AGE_MS and turn its buffering off. ${where}`
}

/** Do clients stay connected, and do they keep up? */
export const CONNECTION_RULES: readonly Rule[] = [
  {
    code: 'slow-closes',
    severity: 'warning',
    level: (v) => v.slowClosesPerMinute / Math.max(v.mostActivePerMinute, 5 * MIN_POPULATION),
    firesAt: 0.01,
    clearsBelow: 0.005,
    message: (v) =>
      `${v.slowClosesPerMinute} of ${v.mostActivePerMinute} connections were closed in the last minute because they were too far behind.`,
    action: () =>
      'Nothing is lost: these clients resume. Check their network and any proxy that buffers, or raise STALL_MS or MAX_BUFFERED_BYTES.'
  },
  {
    code: 'slow-readers',
    severity: 'warning',
    level: (v) => shareOf(v.slow, v),
    firesAt: 0.1,
    clearsBelow: 0.05,
    // A burst fills the sockets of many clients for a moment.
    forMs: LASTING_MS,
    message: (v) => `${v.slow} of ${v.active} connections are behind.`,
    action: () =>
      'Check the network to the clients. If there is a proxy in between, turn off its buffering.'
  },
  {
    code: 'stale-connections',
    severity: 'warning',
    level: (v) => shareOf(v.stale, v),
    firesAt: 0.1,
    clearsBelow: 0.05,
    message: (v) =>
      `${v.stale} of ${v.active} connections have acknowledged nothing for three heartbeats.`,
    action: () => 'Check the network between this process and the clients or the proxy.'
  },
  {
    code: 'connection-limit',
    severity: 'warning',
    level: (v) => (v.maxConnections > 0 ? v.active / v.maxConnections : 0),
    firesAt: 0.9,
    clearsBelow: 0.8,
    message: (v) => `${v.active} of ${v.maxConnections} connections are open.`,
    action: () =>
      'Raise the open-file limit and MAX_CONNECTIONS, or spread users over more processes.'
  },
  {
    code: 'buffered-bytes',
    severity: 'warning',
    level: (v) => v.bufferedBytes / v.memoryBytes,
    firesAt: 0.25,
    clearsBelow: 0.15,
    message: (v) =>
      `${mib(v.bufferedBytes)} are buffered for slow clients, ${percent(v.bufferedBytes / v.memoryBytes)} of the available memory.`,
    action: () =>
      'Lower MAX_BUFFERED_BYTES or STALL_MS to close slow connections sooner (they resume), or add memory.'
  },
  {
    code: 'resets',
    severity: 'warning',
    level: (v) => v.resetsPerMinute,
    firesAt: 30,
    clearsBelow: 10,
    message: (v) =>
      `${v.resetsPerMinute} streams could not resume in the last minute and received the newest page instead.`,
    action: () =>
      'Expected once after the store was wiped or restored. Otherwise raise RETENTION_DAYS or RETENTION_PER_CHANNEL, and check that all processes behind one address share a store.'
  },
  {
    code: 'reconnect-storm',
    severity: 'warning',
    // Compared with the most that were open, not with those left: a mass departure is no storm.
    level: (v) => v.arrivalsPerMinute / Math.max(v.mostActivePerMinute, MIN_POPULATION),
    // After a restart every client comes back once, which is a level of 1.
    firesAt: 2,
    clearsBelow: 1.2,
    message: (v) =>
      `${v.arrivalsPerMinute} streams arrived in the last minute; at most ${v.mostActivePerMinute} were open at once.`,
    action: () =>
      'See connections.closed and connections.refused for the reasons. Look for a proxy that cuts streams, and for clients that ignore retry.'
  },
  {
    code: 'same-interval',
    severity: 'warning',
    // Fires when 20 streams, and 60 % of those that ended, had the same lifetime.
    level: ({ sharedLifetime: one }) => (one ? Math.min(one.share / 0.6, one.ended / 20) : 0),
    firesAt: 1,
    clearsBelow: 0.5,
    message: ({ sharedLifetime: one }) =>
      `${percent(one?.share ?? 0)} of the streams that ended recently were cut by the other side at the same age: ${one?.seconds ?? 0} s.`,
    action: timeoutAction
  },
  {
    code: 'one-address',
    // An office behind one router looks the same: worth a look, not an alarm.
    severity: 'info',
    level: (v) =>
      v.onlyAddress === null || (v.developmentKeys.length > 0 && !v.publicAddress)
        ? 0
        : Math.min(v.active, v.users * 5),
    firesAt: 50,
    clearsBelow: 25,
    message: (v) =>
      v.onlyAddress === null
        ? 'All connections came from one address until a moment ago.'
        : `All ${v.active} connections, of ${v.users} users, come from ${v.onlyAddress}.`,
    action: (v) =>
      `${v.proxyTrusted ? 'TRUST_PROXY covers too few proxies' : 'Bellwire ignores X-Forwarded-For'}: if that is your proxy, set TRUST_PROXY to its address or to the number of hops. Until then the limits for one address count all users as one.`
  }
]
