import { MAX_DATA_DEPTH, MAX_NOTIFICATION_BYTES } from '../../bounds/limits.ts'
import { faultsOf, pointerToken } from './faults.ts'
import { BatchItem, encodeContent, NotificationInput, WELL_FORMED } from './notification.ts'
import type { Fault } from './problem.ts'

/** What a producer sent, as it was found: in order, with its encoded content, or what is wrong with it. */
export type Checked<T> =
  | { readonly input: T; readonly content: string }
  | { readonly faults: readonly Fault[]; readonly tooLarge: boolean }

/** What an item is refused for that is larger than a notification may be. */
export const TOO_LARGE = `must be at most ${MAX_NOTIFICATION_BYTES} bytes as JSON, not counting to`

interface Flaw {
  readonly path: readonly string[]
  readonly message: string
}
const TOO_DEEP: Flaw = { path: [], message: `must be nested at most ${MAX_DATA_DEPTH} deep` }
const INEXACT =
  'must be at most 2^53 - 1, beyond which JSON readers change whole numbers: send it as a string'

/** Where a value breaks what every encoder and reader can bear, and how; undefined where it does not. */
function flawOf(value: unknown, depth: number): Flaw | undefined {
  if (typeof value === 'string')
    return value.isWellFormed() ? undefined : { path: [], message: WELL_FORMED }
  if (typeof value === 'number') {
    if (!Number.isFinite(value))
      return { path: [], message: 'must be a number that a double can hold' }
    // A whole number with so many digits may have been changed by being read here. Beyond 1e21 it is written with an exponent, and
    // comes back as it went (ECMA-262, Number::toString).
    const size = Math.abs(value)
    return size > Number.MAX_SAFE_INTEGER && size < 1e21
      ? { path: [], message: INEXACT }
      : undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (depth > MAX_DATA_DEPTH) return TOO_DEEP
  for (const key of Object.keys(value)) {
    if (!key.isWellFormed()) return { path: [], message: `${WELL_FORMED} in the name of a field` }
    // A name that would reach a prototype when copied.
    if (key === '__proto__') return { path: [key], message: 'must not have this name' }
    const flaw = flawOf((value as Record<string, unknown>)[key], depth + 1)
    if (flaw === TOO_DEEP) return flaw
    if (flaw) return { path: [pointerToken(key), ...flaw.path], message: flaw.message }
  }
  return undefined
}

const REQUIRED: ReadonlySet<string> = new Set(['to', 'type'])
const KNOWN: ReadonlySet<string> = new Set(Object.keys(BatchItem.shape))

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A record without those fields that are null and may be left out; the same one where there are none. */
function withoutNulls(
  given: Record<string, unknown>,
  isOptional: (name: string) => boolean
): Record<string, unknown> {
  for (const name in given) {
    if (given[name] === null && isOptional(name))
      return Object.fromEntries(
        Object.entries(given).filter(([key, value]) => value !== null || !isOptional(key))
      )
  }
  return given
}

const isOptionalField = (name: string): boolean => KNOWN.has(name) && !REQUIRED.has(name)
const isRecipients = (name: string): boolean =>
  name === 'user' || name === 'users' || name === 'topic' || name === 'everyone'

/** Bytes of JSON that a notification takes without its recipients, and without what belongs to the request. */
function sizeOf({ to: _to, idempotencyKey: _key, ...rest }: Record<string, unknown>): number {
  return Buffer.byteLength(JSON.stringify(rest))
}

type Schema<T> = {
  safeParse(
    value: unknown
  ): { success: true; data: T } | { success: false; error: { issues: readonly [] } }
}

function check<T extends NotificationInput>(
  schema: Schema<T>,
  value: unknown,
  pointer: string
): Checked<T> {
  const known: Fault[] = []
  let given = value
  if (isRecord(value)) {
    const record = withoutNulls(value, isOptionalField)
    const { to, data } = record
    given = record
    if (isRecord(to)) {
      const named = withoutNulls(to, isRecipients)
      if (named !== to) given = { ...record, to: named }
    }
    const flaw = isRecord(data) ? flawOf(data, 1) : undefined
    if (flaw)
      known.push({ pointer: [`${pointer}/data`, ...flaw.path].join('/'), detail: flaw.message })
  }
  const parsed = schema.safeParse(given)
  if (!parsed.success || known.length > 0) {
    return {
      faults: faultsOf(parsed.success ? [] : parsed.error.issues, pointer, known),
      tooLarge: false
    }
  }
  const content = encodeContent(parsed.data)
  // A code unit of UTF-16 takes three bytes at most, the fields beside the content a few hundred.
  const length = content.length + (parsed.data.expiresAt?.length ?? 0)
  if (
    length > MAX_NOTIFICATION_BYTES / 4 &&
    sizeOf(given as Record<string, unknown>) > MAX_NOTIFICATION_BYTES
  )
    return { faults: [{ pointer, detail: TOO_LARGE }], tooLarge: true }
  return { input: parsed.data, content }
}

/** Judges the body of one publish, as parsed from JSON; pointers of faults start at it. */
export const checkNotification = (value: unknown): Checked<NotificationInput> =>
  check(NotificationInput as Schema<NotificationInput>, value, '')

/** Judges one item of a batch alike; pointers of faults start with `pointer`. */
export const checkBatchItem = (value: unknown, pointer: string): Checked<BatchItem> =>
  check(BatchItem as Schema<BatchItem>, value, pointer)
