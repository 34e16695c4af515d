import {
  CALM_MS,
  DISK_RESERVE_BYTES,
  DISK_RESERVE_SHARE,
  KEY_SET_MAX_AGE_MS,
  LASTING_MS,
  MIN_POPULATION,
  MIN_SILENCE_MS,
  SIGN_IN_FAILING_MS,
  STORE_CALM_MS,
  UNDONE_CALM_MS
} from '../bounds/limits.ts'
import type { StoreWarning } from '../log/store.ts'
import type { SharedLifetime } from './lifetimes.ts'
import { type Rejections, rejectionLevel } from './producer-minute.ts'
import type { SignInVitals, Trouble } from './sign-ins.ts'

/** What an operator is told to do, and how urgent it is. */
export interface Recommendation {
  readonly code: string
  readonly severity: 'info' | 'warning' | 'critical'
  readonly message: string
  readonly action: string
  /** Since when it is so, milliseconds since 1970. */
  readonly since: number
}

export type HealthStatus = 'ok' | 'degraded' | 'critical'

/** What the rules say at one moment. */
export interface Assessment {
  readonly status: HealthStatus
  /** Gravest first. */
  readonly recommendations: readonly Recommendation[]
}

/** What the rules look at. Shares are 0–1, durations milliseconds. */
export interface Vitals {
  readonly signIns: SignInVitals
  readonly storeHealthy: boolean
  readonly storeReason: string | undefined
  readonly storeWarnings: readonly StoreWarning[]
  /** Requests that it failed in the last ten seconds: small writes may go through where larger ones do not. */
  readonly storeFailures: number
  /** Medians of the last minute; 0 where there were too few to tell. */
  readonly publishAckMs: number
  readonly commitMs: number
  /** Of the disk below the store; undefined where there is none, or nobody can tell. */
  readonly disk: { readonly freeBytes: number; readonly totalBytes: number } | undefined
  readonly draining: boolean
  /** Settings whose fixed development key is in force, and settings that hold keys or secrets of the operator's own. */
  readonly developmentKeys: readonly string[]
  readonly ownKeys: readonly string[]
  readonly publicAddress: boolean
  readonly active: number
  readonly users: number
  /** 0: no limit. */
  readonly maxConnections: number
  readonly openFiles: number | undefined
  readonly openFileLimit: number | undefined
  readonly stale: number
  readonly slow: number
  readonly bufferedBytes: number
  /** What the process may use. */
  readonly memoryBytes: number
  readonly errorsPerMinute: number
  readonly lastErrorCode: string | undefined
  readonly resetsPerMinute: number
  /** Cursors of this log whose place it does not have, in the last minute and since the start. */
  readonly undonePerMinute: number
  readonly undoneCursors: number
  readonly slowClosesPerMinute: number
  /** Streams that came, let in or not. */
  readonly arrivalsPerMinute: number
  /** The most connections that were open at one moment of the last minute. */
  readonly mostActivePerMinute: number
  /** Publishes refused in the last minute; null if there were none. */
  readonly rejections: Rejections | null
  readonly eventLoopLagMs: number
  readonly heartbeatLagMs: number
  readonly heartbeatMs: number
  /** How long nothing was accepted (null: nothing ever was), and the longest such time before. */
  readonly silenceMs: number | null
  readonly longestSilenceMs: number
  readonly sharedLifetime: SharedLifetime | null
  readonly onlyAddress: string | null
  readonly proxyTrusted: boolean
}

/** A line of the table. `level` is how bad it is: the rule fires from `enter` up and clears below `clear`. */
export interface Rule {
  readonly code: string
  readonly severity: Recommendation['severity']
  readonly level: (vitals: Vitals) => number
  readonly enter: number
  readonly clear: number
  /** How long the level must stay up before it fires, and down before it clears; default 0 and {@link CALM_MS}. */
  readonly enterMs?: number
  readonly clearMs?: number
  readonly message: (vitals: Vitals) => string
  readonly action: (vitals: Vitals) => string
}

const percent = (share: number): string => `${Math.round(share * 100)} %`
const mib = (bytes: number): string => `${Math.round(bytes / 1024 / 1024)} MiB`
const plural = (n: number, one: string): string => `${n} ${one}${n === 1 ? '' : 's'}`
const minutes = (ms: number): string =>
  ms < 120_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`
/** A share of the connections there are, of which a handful is no crowd. */
const shareOf = (count: number, { active }: Vitals): number =>
  count / Math.max(active, MIN_POPULATION)
const yes = { enter: 1, clear: 1 } as const

/** Time-outs that proxies are known to have as they come, by seconds, and where to change them. */
const KNOWN_INTERVALS: Readonly<Record<number, string>> = {
  30: 'timeoutSec of the backend service of a Google Cloud load balancer',
  50: 'timeout client and timeout server of HAProxy',
  55: 'the 55 s rule of the Heroku router, which only traffic within that time keeps away',
  60: 'proxy_read_timeout of nginx, idle_timeout of an AWS application load balancer, ProxyTimeout of Apache',
  100: 'the Proxy Read Timeout of Cloudflare',
  230: 'the idle time-out of the Azure App Service front end',
  240: 'the idle time-out of an Azure load balancer',
  300: 'timeoutSeconds of Cloud Run, the stream idle time-out of Envoy',
  350: 'the idle time-out of an AWS network load balancer'
}

function intervalAction({ sharedLifetime, heartbeatMs }: Vitals): string {
  const seconds = sharedLifetime?.seconds ?? 0
  const known = KNOWN_INTERVALS[seconds]
  const where = known
    ? `Known to last ${seconds} s: ${known}.`
    : 'Look for a time-out of that length in each proxy in front.'
  // Silence cannot be what it dislikes where something is written more often than that.
  return heartbeatMs >= seconds * 1000
    ? `Nothing is written for as long as that: set HEARTBEAT_MS to ${Math.max(100, Math.floor((seconds * 1000) / 2))} or less, or raise the time-out. ${where}`
    : `Heartbeats are more frequent, so it ends responses whatever is sent, or holds them back: raise it beyond MAX_CONNECTION_AGE_MS and switch buffering off. ${where}`
}

/** What the store itself found to be set up otherwise than it should be, in its words. */
function storeSetting(code: string): Rule {
  const found = (v: Vitals): StoreWarning | undefined =>
    v.storeWarnings.find((warning) => warning.code === code)
  return {
    code,
    severity: 'warning',
    level: (v) => Number(found(v) !== undefined),
    ...yes,
    clearMs: 0,
    message: (v) => found(v)?.message ?? 'It has been changed.',
    action: (v) => found(v)?.action ?? 'Nothing to do.'
  }
}

const troubleOf = ({ setting, origin, reason }: Trouble): string =>
  `${setting} (${origin}): ${reason}`

/** Condition → code, severity, message, action. A message is also read while the rule calms down: it tells figures, not verdicts. */
export const RULES: readonly Rule[] = [
  {
    code: 'store-failing',
    severity: 'critical',
    level: (v) => Number(!v.storeHealthy || v.storeFailures > 0),
    ...yes,
    clearMs: STORE_CALM_MS,
    message: (v) => {
      const reason = v.storeReason ? `: ${v.storeReason}` : ''
      if (v.storeFailures > 0)
        return `The store failed ${plural(v.storeFailures, 'request')} in the last ten seconds${reason}.`
      return v.storeHealthy
        ? 'The store failed a moment ago and works again.'
        : `The store does not work${reason}.`
    },
    action: () =>
      'Look at its disk or its server, and at the log lines of the store; publishing resumes by itself once it works.'
  },
  {
    code: 'events-undone',
    severity: 'critical',
    level: (v) => v.undonePerMinute,
    ...yes,
    clearMs: UNDONE_CALM_MS,
    message: (v) =>
      `${plural(v.undoneCursors, 'connection')} came back with a cursor that this log never gave, or no longer has: events that were delivered are missing.`,
    action: () =>
      'Expected for an hour after a database was put back to an earlier state: these clients got a reset. If nobody restored anything, look at the disk and at how it syncs; a client that invents cursors looks the same (the log names its user).'
  },
  storeSetting('redis-not-durable'),
  storeSetting('redis-evicts'),
  storeSetting('redis-outdated'),
  {
    code: 'sign-in-failing',
    severity: 'critical',
    level: ({ signIns }) => signIns.failingMs / SIGN_IN_FAILING_MS,
    enter: 1,
    // Somebody was identified, or nobody tries any more: there is nothing in between.
    clear: 0.01,
    clearMs: STORE_CALM_MS,
    message: ({ signIns: { failingMs, trouble } }) =>
      trouble
        ? `Nobody could be identified for ${minutes(failingMs)}, though they tried. ${troubleOf(trouble)}.`
        : 'A moment ago nobody could be identified.',
    action: ({ signIns: { trouble } }) =>
      `Check ${trouble?.setting ?? 'AUTH_SESSION_URL and AUTH_JWKS_URL'}, and that its server answers as it should when it is asked from this machine. Until then new streams are told to come back; open ones go on.`
  },
  {
    code: 'key-set-outdated',
    severity: 'warning',
    level: ({ signIns: { keySet } }) => (keySet ? keySet.awayMs / KEY_SET_MAX_AGE_MS : 0),
    enter: 1,
    clear: 0.5,
    clearMs: STORE_CALM_MS,
    message: ({ signIns: { keySet } }) =>
      keySet
        ? `The key set could not be fetched for ${minutes(keySet.awayMs)}. ${troubleOf(keySet.trouble)}. ${
            keySet.leftMs > 0
              ? `The keys fetched before stay good for ${minutes(keySet.leftMs)} more.`
              : 'There are no keys to go on with.'
          }`
        : 'A moment ago the key set could not be fetched.',
    action: () =>
      'Check AUTH_JWKS_URL, and that the issuer answers when it is asked from this machine. Tokens with a new key are refused until then.'
  },
  {
    code: 'store-nearly-full',
    severity: 'warning',
    level: ({ disk }) =>
      disk
        ? Math.min(DISK_RESERVE_BYTES, disk.totalBytes * DISK_RESERVE_SHARE) /
          Math.max(1, disk.freeBytes)
        : 0,
    enter: 1,
    clear: 0.8,
    message: ({ disk }) =>
      `${mib(disk?.freeBytes ?? 0)} of ${mib(disk?.totalBytes ?? 0)} are free on the disk of the store.`,
    action: () =>
      'Make room or enlarge it; RETENTION_DAYS and RETENTION_PER_CHANNEL say how much is kept. Full, it answers 507.'
  },
  {
    code: 'store-slow',
    severity: 'warning',
    level: (v) => Math.max(v.publishAckMs, v.commitMs),
    enter: 250,
    clear: 125,
    enterMs: LASTING_MS,
    message: (v) =>
      `Half of the publications take ${Math.round(v.publishAckMs)} ms or more until they are durable, half of the commits ${Math.round(v.commitMs)} ms.`,
    action: () =>
      'Look for what else writes to this disk; a disk over a network, or a shared one, syncs slowly.'
  },
  {
    code: 'errors',
    severity: 'warning',
    level: (v) => v.errorsPerMinute,
    enter: 30,
    clear: 10,
    message: (v) =>
      v.errorsPerMinute === 0
        ? 'There were many errors; none in the last minute.'
        : `${plural(v.errorsPerMinute, 'error')} in the last minute${v.lastErrorCode ? `, the last one: ${v.lastErrorCode}` : ''}.`,
    action: () =>
      'See errors.byCode for which, since when, and the last message of each; the log has their request ids.'
  },
  {
    code: 'rejected-publishes',
    severity: 'warning',
    level: ({ rejections }) => (rejections ? rejectionLevel(rejections) : 0),
    enter: 1,
    clear: 0.5,
    message: ({ rejections: one }) =>
      one
        ? `${one.refused} of ${one.asked} publishes were refused in the last minute, most of them from the producer ${one.producer}, most often for ${one.problem}.`
        : 'Many publishes were refused; none in the last minute.',
    action: () =>
      'Look at what that producer sends: every answer says in errors what to change. publish.rejectedBy counts all by problem, the log has their request ids.'
  },
  {
    code: 'slow-closes',
    severity: 'warning',
    level: (v) => v.slowClosesPerMinute / Math.max(v.mostActivePerMinute, 5 * MIN_POPULATION),
    enter: 0.01,
    clear: 0.005,
    message: (v) =>
      `${v.slowClosesPerMinute} of ${v.mostActivePerMinute} readers were cut off in the last minute since they were too far behind.`,
    action: () =>
      'Nothing is lost, they resume. Look at their network and at proxies that buffer; raise STALL_MS or MAX_BUFFERED_BYTES.'
  },
  {
    code: 'slow-readers',
    severity: 'warning',
    level: (v) => shareOf(v.slow, v),
    enter: 0.1,
    clear: 0.05,
    // A burst fills the sockets of many for a moment.
    enterMs: LASTING_MS,
    message: (v) => `${v.slow} of ${v.active} readers are behind.`,
    action: () => 'Look at their network; if a proxy stands between, switch off its buffering.'
  },
  {
    code: 'stale-connections',
    severity: 'warning',
    level: (v) => shareOf(v.stale, v),
    enter: 0.1,
    clear: 0.05,
    message: (v) =>
      `${v.stale} of ${v.active} peers have acknowledged nothing for three heartbeats.`,
    action: () => 'Look at the network between the clients or the proxy and this process.'
  },
  {
    code: 'heartbeat-lag',
    severity: 'warning',
    level: (v) => v.heartbeatLagMs,
    enter: 2000,
    clear: 500,
    message: (v) =>
      `Heartbeats are late by ${Math.round(v.heartbeatLagMs)} ms; the process stood still for more than 2 s.`,
    action: () =>
      'Look for a host that is out of CPU or memory, or a container with too small a CPU quota.'
  },
  {
    code: 'event-loop-lag',
    severity: 'warning',
    level: (v) => v.eventLoopLagMs,
    enter: 100,
    clear: 50,
    enterMs: LASTING_MS,
    message: (v) =>
      `Whatever happens waits ${Math.round(v.eventLoopLagMs)} ms for its turn, on average.`,
    action: () => 'Give the process more CPU, or spread users over more processes.'
  },
  {
    code: 'connection-limit',
    severity: 'warning',
    level: (v) => (v.maxConnections > 0 ? v.active / v.maxConnections : 0),
    enter: 0.9,
    clear: 0.8,
    message: (v) => `${v.active} of ${v.maxConnections} connections are open.`,
    action: () =>
      'Raise the open-file limit and MAX_CONNECTIONS, or spread users over more processes.'
  },
  {
    code: 'open-files',
    severity: 'warning',
    level: ({ openFiles, openFileLimit }) =>
      openFiles !== undefined && openFileLimit ? openFiles / openFileLimit : 0,
    enter: 0.9,
    clear: 0.8,
    message: (v) => `${v.openFiles} of ${v.openFileLimit} file descriptors are in use.`,
    action: () =>
      'Raise the open-file limit (ulimit -n, LimitNOFILE); beyond it nobody can connect, operators included.'
  },
  {
    code: 'buffered-bytes',
    severity: 'warning',
    level: (v) => v.bufferedBytes / v.memoryBytes,
    enter: 0.25,
    clear: 0.15,
    message: (v) =>
      `${mib(v.bufferedBytes)} wait for readers, ${percent(v.bufferedBytes / v.memoryBytes)} of the memory there is.`,
    action: () =>
      'Lower MAX_BUFFERED_BYTES or STALL_MS so that slow readers go sooner (they resume), or give it more memory.'
  },
  {
    code: 'resets',
    severity: 'warning',
    level: (v) => v.resetsPerMinute,
    enter: 30,
    clear: 10,
    message: (v) =>
      `${v.resetsPerMinute} streams could not be resumed in the last minute and got the newest page instead.`,
    action: () =>
      'Expected once after the store was wiped or restored. Otherwise raise RETENTION_DAYS or RETENTION_PER_CHANNEL, and see that all processes behind one address share a store.'
  },
  {
    code: 'reconnect-storm',
    severity: 'warning',
    // Against the most there were, not against those who are left: when everybody leaves, nobody storms.
    level: (v) => v.arrivalsPerMinute / Math.max(v.mostActivePerMinute, MIN_POPULATION),
    // After a restart everybody comes back once, which is a level of 1.
    enter: 2,
    clear: 1.2,
    message: (v) =>
      `${v.arrivalsPerMinute} streams came in the last minute, of which at most ${v.mostActivePerMinute} were open at a time.`,
    action: () =>
      'See connections.closed and connections.refused for why they go; look for a proxy that cuts them, and for clients that do not wait for retry.'
  },
  {
    code: 'same-interval',
    severity: 'warning',
    // 20 of at most 33 that ended, or 60 % of more.
    level: ({ sharedLifetime: one }) => (one ? Math.min(one.share / 0.6, one.ended / 20) : 0),
    enter: 1,
    clear: 0.5,
    message: ({ sharedLifetime: one }) =>
      `${percent(one?.share ?? 0)} of the streams that ended lately were cut from the other side at the same age: ${one?.seconds ?? 0} s.`,
    action: intervalAction
  },
  {
    code: 'one-address',
    // Everybody in one office behind one router looks the same: worth a look, not an alarm.
    severity: 'info',
    level: (v) =>
      v.onlyAddress === null || (v.developmentKeys.length > 0 && !v.publicAddress)
        ? 0
        : Math.min(v.active, v.users * 5),
    enter: 50,
    clear: 25,
    message: (v) =>
      v.onlyAddress === null
        ? 'A moment ago all connections came from one address.'
        : `All ${v.active} connections, of ${v.users} users, come from ${v.onlyAddress}.`,
    action: (v) =>
      `${v.proxyTrusted ? 'TRUST_PROXY trusts too little' : 'X-Forwarded-For is not believed'}: if that is a proxy of yours, set TRUST_PROXY to its address or to the number of hops. Until then limits for each address count everybody as one.`
  },
  {
    code: 'no-publishes',
    // Nights and week-ends look the same: worth a look, not an alarm.
    severity: 'info',
    level: (v) =>
      v.silenceMs === null ? 0 : v.silenceMs / Math.max(MIN_SILENCE_MS, 3 * v.longestSilenceMs),
    enter: 1,
    clear: 1,
    clearMs: 0,
    message: (v) =>
      `Nothing was accepted for ${minutes(v.silenceMs ?? 0)}; it was never more than ${minutes(v.longestSilenceMs)} since the start.`,
    action: () =>
      'Look whether the producers run, reach this address and have a valid key; publish.rejected counts what was refused.'
  },
  {
    code: 'draining',
    severity: 'info',
    level: (v) => Number(v.draining),
    ...yes,
    message: () => 'The process is shutting down and takes no new streams.',
    action: () => 'Nothing to do; clients come back to another process or to the next one.'
  },
  {
    code: 'development-credentials',
    // Anyone who knows the address may publish, read and disconnect everybody.
    severity: 'critical',
    level: (v) => Number(v.developmentKeys.length > 0 && (v.publicAddress || v.ownKeys.length > 0)),
    ...yes,
    message: (v) =>
      v.ownKeys.length > 0
        ? `Development keys, which everybody knows, are in use for ${v.developmentKeys.join(', ')}, beside your own ${v.ownKeys.join(', ')}.`
        : 'The fixed development keys, which everybody knows, are in use on an address that others can reach.',
    action: () => 'Set NODE_ENV=production, PUBLISH_KEYS, MONITOR_KEYS and a subscriber credential.'
  }
]

const STATUS = { info: 'ok', warning: 'degraded', critical: 'critical' } as const satisfies Record<
  Recommendation['severity'],
  HealthStatus
>
const GRAVITY = ['critical', 'warning', 'info'] as const

/** What a rule is up to. The instant of `firing` is wall time, for people; the others are monotonic. */
interface Standing {
  firing: { readonly since: number } | null
  /** Since when the level is on the other side of the threshold that counts; null where it is not. */
  turning: number | null
}

/** The rules and what they remember: what fires stays until it has been calm for a while, so that nothing flaps. */
export class Health {
  readonly #standings: ReadonlyMap<Rule, Standing>
  readonly #listeners: ((previous: HealthStatus) => void)[] = []
  #last: Assessment = { status: 'ok', recommendations: [] }

  constructor(rules: readonly Rule[] = RULES) {
    this.#standings = new Map(rules.map((rule) => [rule, { firing: null, turning: null }]))
  }

  /** The last assessment; `ok` before the first. */
  get last(): Assessment {
    return this.#last
  }

  /** Calls back at once when an assessment changes the status; it is the `last` one then. */
  onStatus(listener: (previous: HealthStatus) => void): void {
    this.#listeners.push(listener)
  }

  /** Holds the rules against the figures, at any times and as often as one likes; `now` is monotonic milliseconds. */
  assess(vitals: Vitals, now: number): Assessment {
    const recommendations: Recommendation[] = []
    for (const [rule, standing] of this.#standings) {
      advance(rule, standing, rule.level(vitals), now)
      if (!standing.firing) continue
      const { code, severity } = rule
      recommendations.push({
        code,
        severity,
        message: rule.message(vitals),
        action: rule.action(vitals),
        since: standing.firing.since
      })
    }
    recommendations.sort((a, b) => GRAVITY.indexOf(a.severity) - GRAVITY.indexOf(b.severity))
    const previous = this.#last.status
    const status = recommendations[0] ? STATUS[recommendations[0].severity] : 'ok'
    this.#last = { status, recommendations }
    if (status !== previous) for (const listener of this.#listeners) listener(previous)
    return this.#last
  }
}

function advance(rule: Rule, standing: Standing, level: number, now: number): void {
  const turned = standing.firing ? level < rule.clear : level >= rule.enter
  if (!turned) {
    standing.turning = null
    return
  }
  standing.turning ??= now
  const lastedMs = now - standing.turning
  if (lastedMs < (standing.firing ? (rule.clearMs ?? CALM_MS) : (rule.enterMs ?? 0))) return
  standing.firing = standing.firing ? null : { since: Date.now() - Math.round(lastedMs) }
  standing.turning = null
}
