/** What an operator is told to do, and how urgent it is. */
export interface Recommendation {
  readonly code: string
  readonly severity: 'info' | 'warning' | 'critical'
  readonly message: string
  readonly action: string
}

export type HealthStatus = 'ok' | 'degraded' | 'critical'

/** What the rules look at. Shares are 0–1, durations milliseconds. */
export interface Vitals {
  readonly storeHealthy: boolean
  readonly storeReason: string | undefined
  readonly draining: boolean
  readonly developmentCredentials: boolean
  readonly publicAddress: boolean
  readonly active: number
  readonly maxConnections: number
  readonly stale: number
  readonly slow: number
  readonly errorsPerMinute: number
  readonly eventLoopLagMs: number
  readonly heartbeatLagMs: number
}

interface Rule {
  readonly code: string
  readonly severity: Recommendation['severity']
  readonly when: (vitals: Vitals) => boolean
  readonly message: (vitals: Vitals) => string
  readonly action: string
}

/** Condition → code, severity, message, action. */
const RULES: readonly Rule[] = [
  {
    code: 'store-failing',
    severity: 'critical',
    when: (v) => !v.storeHealthy,
    message: (v) => `The store does not work${v.storeReason ? `: ${v.storeReason}` : ''}.`,
    action: 'Look at the disk and at the log lines of the store; publishing resumes by itself once it works.'
  },
  {
    code: 'connection-limit',
    severity: 'warning',
    when: (v) => v.maxConnections > 0 && v.active >= v.maxConnections * 0.9,
    message: (v) => `${v.active} of ${v.maxConnections} connections are open.`,
    action: 'Raise the open-file limit and MAX_CONNECTIONS, or spread users over more processes.'
  },
  {
    code: 'stale-connections',
    severity: 'warning',
    when: (v) => v.stale > 10 && v.stale > v.active * 0.1,
    message: (v) => `${v.stale} peers have acknowledged nothing for three heartbeats.`,
    action: 'Look at the network between the clients or the proxy and this process.'
  },
  {
    code: 'slow-readers',
    severity: 'warning',
    when: (v) => v.slow > 10 && v.slow > v.active * 0.1,
    message: (v) => `${v.slow} readers are behind.`,
    action: 'Look at their network; if a proxy stands between, switch off its buffering.'
  },
  {
    code: 'errors',
    severity: 'warning',
    when: (v) => v.errorsPerMinute > 60,
    message: (v) => `${v.errorsPerMinute} errors in the last minute.`,
    action: 'See errors.byCode for which, since when, and the last message of each.'
  },
  {
    code: 'event-loop-lag',
    severity: 'warning',
    when: (v) => v.eventLoopLagMs > 200 || v.heartbeatLagMs > 2000,
    message: (v) => `The process is late by ${Math.round(Math.max(v.eventLoopLagMs, v.heartbeatLagMs))} ms.`,
    action: 'Give it more CPU, or spread users over more processes.'
  },
  {
    code: 'draining',
    severity: 'info',
    when: (v) => v.draining,
    message: () => 'The process is shutting down and takes no new streams.',
    action: 'Nothing to do; clients come back to another process or to the next one.'
  },
  {
    code: 'development-credentials',
    severity: 'warning',
    when: (v) => v.developmentCredentials && v.publicAddress,
    message: () => 'The fixed development keys are in use on an address that others can reach.',
    action: 'Set NODE_ENV=production, PUBLISH_KEYS, MONITOR_KEYS and a subscriber credential.'
  }
]

const STATUS = { info: 'ok', warning: 'degraded', critical: 'critical' } as const satisfies Record<
  Recommendation['severity'],
  HealthStatus
>

/** The rules that fire, gravest first, and the status that follows from them. */
export function assess(vitals: Vitals): { status: HealthStatus; recommendations: Recommendation[] } {
  const grave = ['critical', 'warning', 'info'] as const
  const recommendations = RULES.filter((rule) => rule.when(vitals))
    .map(({ code, severity, message, action }) => ({ code, severity, message: message(vitals), action }))
    .sort((a, b) => grave.indexOf(a.severity) - grave.indexOf(b.severity))
  return { status: recommendations[0] ? STATUS[recommendations[0].severity] : 'ok', recommendations }
}
