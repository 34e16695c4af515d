import { MAX_ENTRIES } from '../../bounds/limits.ts'
import type { Fault } from './problem.ts'

/** What zod reports about one broken rule, as far as it is used here. */
export interface Issue {
  readonly path: readonly PropertyKey[]
  readonly code?: string | undefined
  readonly message: string
  readonly keys?: readonly string[] | undefined
}

/**
 * One reference token of a JSON pointer (RFC 6901, 3). A name longer than any of ours is truncated.
 */
export const pointerToken = (key: string): string =>
  (key.length > MAX_TOKEN ? `${key.slice(0, MAX_TOKEN)}…` : key)
    .replaceAll('~', '~0')
    .replaceAll('/', '~1')
const MAX_TOKEN = 256

/**
 * Turns issues into faults, after those that are already `known`. Their JSON pointers start at
 * `base`. Each unknown field is a fault. If there are more than {@link MAX_ENTRIES} `faults`, the
 * last one says how many are left out.
 */
export function faultsOf(
  issues: readonly Issue[],
  base = '',
  known: readonly Fault[] = []
): Fault[] {
  const faults = [...known]
  let total = known.length
  for (const issue of issues) {
    const pointer = issue.path.reduce<string>((all, token) => `${all}/${String(token)}`, base)
    const keys = issue.code === 'unrecognized_keys' ? issue.keys : undefined
    total += keys?.length ?? 1
    const room = MAX_ENTRIES.faults - faults.length
    if (room <= 0) continue
    if (keys) {
      for (const key of keys.slice(0, room))
        faults.push({
          pointer: `${pointer}/${pointerToken(key)}`,
          detail: 'is not a known field; remove it'
        })
    } else faults.push({ pointer, detail: sentenceOf(issue.message) })
  }
  if (total <= MAX_ENTRIES.faults) return faults
  const shown = faults.slice(0, MAX_ENTRIES.faults - 1)
  const more = total - shown.length
  return [...shown, { pointer: base, detail: `has ${more} more faults; mend these first`, more }]
}

/** Zod's message, reworded for callers who may not know zod. */
function sentenceOf(message: string): string {
  const wrongType = /^Invalid input: expected (.+), received (.+)$/.exec(message)
  if (wrongType)
    return wrongType[2] === 'undefined'
      ? `is required (${wrongType[1]})`
      : `must be ${wrongType[1]}, not ${wrongType[2]}`
  return message.replace(
    /^(?:Invalid|Too (?:big|small)|Invalid input): expected \w+ to (?:have|be) /,
    'must be '
  )
}

/** The faults in one line, for `detail` of a problem. */
export function summaryOf(faults: readonly Fault[]): string {
  const [first, ...rest] = faults
  if (!first) return 'The request breaks a rule.'
  const more = rest.reduce((sum, fault) => sum + (fault.more ?? 1), 0)
  return `${first.pointer === '' ? 'The body' : first.pointer} ${first.detail}${more > 0 ? ` (and ${more} more, see errors)` : ''}.`
}
