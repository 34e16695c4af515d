import { MIN_POPULATION } from '../../bounds/limits.ts'
import type { HealthInputs } from '../health-inputs.ts'

/** How much a rule matters: warnings make the status `degraded`, critical ones `critical`. */
export type Severity = 'info' | 'warning' | 'critical'

/** One row of the table of rules. */
export interface Rule {
  /** Unique, stable name: operators filter by it. */
  readonly code: string
  readonly severity: Severity
  /** How bad it is now; the unit is the rule's own. */
  readonly level: (inputs: HealthInputs) => number
  /** The rule fires at this level or above. */
  readonly firesAt: number
  /** A firing rule clears below this level. */
  readonly clearsBelow: number
  /** How long the level must stay up before the rule fires, milliseconds; default 0. */
  readonly forMs?: number
  /** How long the level must stay down before the rule clears, milliseconds; default 30 s. */
  readonly keepFiringForMs?: number
  /** What is wrong. Also shown while the rule calms down, so it states figures, not verdicts. */
  readonly message: (inputs: HealthInputs) => string
  /** What to do about it. */
  readonly action: (inputs: HealthInputs) => string
}

/** Thresholds of a rule whose level is 0 or 1. */
export const YES = { firesAt: 1, clearsBelow: 1 } as const

/** `0.305` → `31 %`. */
export const percent = (share: number): string => `${Math.round(share * 100)} %`
/** Bytes as whole MiB. */
export const mib = (bytes: number): string => `${Math.round(bytes / 1024 / 1024)} MiB`
/** `1 error`, `2 errors`. */
export const plural = (n: number, one: string): string => `${n} ${one}${n === 1 ? '' : 's'}`
/** Formats milliseconds as seconds, or as minutes from two minutes up. */
export const duration = (ms: number): string =>
  ms < 120_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`
/** A share of the open connections; few connections count as {@link MIN_POPULATION}. */
export const shareOf = (count: number, { active }: HealthInputs): number =>
  count / Math.max(active, MIN_POPULATION)
