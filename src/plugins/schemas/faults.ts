import type { Fault } from '../../errors.ts'

/** What zod tells about one broken rule, as far as it is used here. */
export interface Issue {
  readonly path: readonly PropertyKey[]
  readonly code?: string | undefined
  readonly message: string
  readonly keys?: readonly string[] | undefined
}

/** One reference token of a JSON pointer (RFC 6901, 3). */
export const pointerToken = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1')

/** Issues as faults with JSON pointers that start at `base`. Each unknown field is a fault of its own. */
export function faultsOf(issues: readonly Issue[], base = ''): Fault[] {
  return issues.flatMap((issue) => {
    const pointer = issue.path.reduce<string>((all, token) => `${all}/${String(token)}`, base)
    if (issue.code === 'unrecognized_keys' && issue.keys) {
      return issue.keys.map((key) => ({ pointer: `${pointer}/${pointerToken(key)}`, detail: 'is not a known field; remove it' }))
    }
    return [{ pointer, detail: sentenceOf(issue.message) }]
  })
}

/** Zod's own words, said to a caller who may not know zod. */
function sentenceOf(message: string): string {
  const wrongType = /^Invalid input: expected (.+), received (.+)$/.exec(message)
  if (wrongType)
    return wrongType[2] === 'undefined' ? `is required (${wrongType[1]})` : `must be ${wrongType[1]}, not ${wrongType[2]}`
  return message.replace(/^(?:Invalid|Too (?:big|small)|Invalid input): expected \w+ to (?:have|be) /, 'must be ')
}

/** The faults in one line, for `detail`. */
export function summaryOf(faults: readonly Fault[]): string {
  const [first, ...rest] = faults
  if (!first) return 'The request breaks a rule.'
  return `${first.pointer === '' ? 'The body' : first.pointer} ${first.detail}${rest.length > 0 ? ` (and ${rest.length} more, see errors)` : ''}.`
}
