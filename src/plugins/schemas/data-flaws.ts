import { MAX_DATA_DEPTH } from '../../bounds/limits.ts'
import { WELL_FORMED } from '../../log/content.ts'
import { pointerToken } from './faults.ts'

/** Whether a JSON value is an object. */
export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** What is wrong with a value, and where. */
export interface Flaw {
  readonly path: readonly string[]
  readonly message: string
}
const TOO_DEEP: Flaw = { path: [], message: `must be nested at most ${MAX_DATA_DEPTH} deep` }
const INEXACT =
  'must be at most 2^53 - 1, beyond which JSON readers change whole numbers: send it as a string'

/**
 * Where and how a value exceeds what every encoder and reader can handle; undefined if it does not.
 */
export function flawOf(value: unknown, depth: number): Flaw | undefined {
  if (typeof value === 'string')
    return value.isWellFormed() ? undefined : { path: [], message: WELL_FORMED }
  if (typeof value === 'number') {
    if (!Number.isFinite(value))
      return { path: [], message: 'must be a number that a double can hold' }
    // Parsing may have changed a whole number of that size. From 1e21 on it is written with an
    // exponent and survives (ECMA-262, Number::toString).
    const size = Math.abs(value)
    return size > Number.MAX_SAFE_INTEGER && size < 1e21
      ? { path: [], message: INEXACT }
      : undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (depth > MAX_DATA_DEPTH) return TOO_DEEP
  for (const key of Object.keys(value)) {
    if (!key.isWellFormed()) return { path: [], message: `${WELL_FORMED} in the name of a field` }
    // Copying this name would reach a prototype.
    if (key === '__proto__') return { path: [key], message: 'must not have this name' }
    const flaw = flawOf((value as Record<string, unknown>)[key], depth + 1)
    if (flaw === TOO_DEEP) return flaw
    if (flaw) return { path: [pointerToken(key), ...flaw.path], message: flaw.message }
  }
  return undefined
}
