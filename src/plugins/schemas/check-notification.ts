import { MAX_DATA_DEPTH, MAX_NOTIFICATION_BYTES } from '../../bounds/limits.ts'
import { encodeContent, WELL_FORMED } from '../../log/content.ts'
import { faultsOf, pointerToken } from './faults.ts'
import { BatchItem, NotificationInput } from './notification.ts'
import type { Fault } from './problem.ts'

/** The result of a check: a valid notification with its encoded content, or its faults. */
export type Checked<T> =
  | { readonly input: T; readonly content: string }
  | { readonly faults: readonly Fault[]; readonly tooLarge: boolean }

/** What is wrong with a notification that is too large. */
export const TOO_LARGE = `must be at most ${MAX_NOTIFICATION_BYTES} bytes as JSON, not counting to`

interface Flaw {
  readonly path: readonly string[]
  readonly message: string
}
const TOO_DEEP: Flaw = { path: [], message: `must be nested at most ${MAX_DATA_DEPTH} deep` }
const INEXACT =
  'must be at most 2^53 - 1, beyond which JSON readers change whole numbers: send it as a string'

/**
 * Where and how a value exceeds what every encoder and reader can handle; undefined if it does not.
 */
function flawOf(value: unknown, depth: number): Flaw | undefined {
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

const REQUIRED: ReadonlySet<string> = new Set(['to', 'type'])
const KNOWN: ReadonlySet<string> = new Set(Object.keys(BatchItem.shape))

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A record without optional fields that are null; the same record if it has none. */
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

/** Bytes of a notification as JSON, without its recipients and its idempotency key. */
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
  // A UTF-16 code unit takes at most three bytes, and the other fields a few hundred: most
  // notifications need not be measured.
  const length = content.length + (parsed.data.expiresAt?.length ?? 0)
  if (
    length > MAX_NOTIFICATION_BYTES / 4 &&
    sizeOf(given as Record<string, unknown>) > MAX_NOTIFICATION_BYTES
  )
    return { faults: [{ pointer, detail: TOO_LARGE }], tooLarge: true }
  return { input: parsed.data, content }
}

/** Checks the body of one publish, parsed from JSON. Pointers of faults start there. */
export const checkNotification = (value: unknown): Checked<NotificationInput> =>
  check(NotificationInput as Schema<NotificationInput>, value, '')

/** Checks one item of a batch by the same rules. Pointers of faults start with `pointer`. */
export const checkBatchItem = (value: unknown, pointer: string): Checked<BatchItem> =>
  check(BatchItem as Schema<BatchItem>, value, pointer)
