import { CALM_MS } from '../bounds/limits.ts'
import type { HealthInputs } from './health-inputs.ts'
import type { Rule, Severity } from './health-rules/rule.ts'
import { RULES } from './health-rules.ts'

/** A rule that fires, as operators see it. */
export interface Recommendation {
  readonly code: string
  readonly severity: Severity
  readonly message: string
  readonly action: string
  /** When the condition began, milliseconds since 1970. */
  readonly since: number
}

export type HealthStatus = 'ok' | 'degraded' | 'critical'

/** What the rules say at one moment. */
export interface Assessment {
  readonly status: HealthStatus
  /** Most severe first. */
  readonly recommendations: readonly Recommendation[]
}

const STATUS = {
  info: 'ok',
  warning: 'degraded',
  critical: 'critical'
} as const satisfies Record<Severity, HealthStatus>
const BY_SEVERITY = ['critical', 'warning', 'info'] as const satisfies Severity[]

/** The state of a rule. `since` is wall time, for people; `turning` is monotonic. */
interface Standing {
  firing: { readonly since: number } | null
  /** Since when the level is past the threshold that would change the state; null: it is not. */
  turning: number | null
}

/**
 * Evaluates the rules and remembers which ones fire. A rule fires above one threshold and clears
 * only after the level stayed below a lower one, so the status does not flap.
 */
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

  /** Calls `listener` when an assessment changes the status; `last` is the new one by then. */
  onStatus(listener: (previous: HealthStatus) => void): void {
    this.#listeners.push(listener)
  }

  /** Evaluates the rules; can be called at any time. `now` is monotonic milliseconds. */
  assess(inputs: HealthInputs, now: number): Assessment {
    const recommendations: Recommendation[] = []
    for (const [rule, standing] of this.#standings) {
      advance(rule, standing, rule.level(inputs), now)
      if (!standing.firing) continue
      const { code, severity } = rule
      recommendations.push({
        code,
        severity,
        message: rule.message(inputs),
        action: rule.action(inputs),
        since: standing.firing.since
      })
    }
    recommendations.sort(
      (a, b) => BY_SEVERITY.indexOf(a.severity) - BY_SEVERITY.indexOf(b.severity)
    )
    const previous = this.#last.status
    const status = recommendations[0] ? STATUS[recommendations[0].severity] : 'ok'
    this.#last = { status, recommendations }
    if (status !== previous) for (const listener of this.#listeners) listener(previous)
    return this.#last
  }
}

function advance(rule: Rule, standing: Standing, level: number, now: number): void {
  const { firing } = standing
  const turned = firing ? level < rule.clearsBelow : level >= rule.firesAt
  if (!turned) {
    standing.turning = null
    return
  }
  standing.turning ??= now
  const lastedMs = now - standing.turning
  if (lastedMs < (firing ? (rule.keepFiringForMs ?? CALM_MS) : (rule.forMs ?? 0))) return
  standing.firing = firing ? null : { since: Date.now() - Math.round(lastedMs) }
  standing.turning = null
}
