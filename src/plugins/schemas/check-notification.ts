import { MAX_NOTIFICATION_BYTES } from '../../bounds/limits.ts'
import { encodeContent } from '../../log/content.ts'
import { flawOf, isRecord } from './data-flaws.ts'
import { faultsOf } from './faults.ts'
import { plainBatchItem, plainNotification } from './plain-notification.ts'
import type { Fault } from './problem.ts'
import { BatchItem, NotificationInput } from './publish-body.ts'

/** The result of a check: a valid notification with its encoded content, or its faults. */
export type Checked<T> =
  | { readonly input: T; readonly content: string }
  | { readonly faults: readonly Fault[]; readonly tooLarge: boolean }

/** What is wrong with a notification that is too large. */
export const TOO_LARGE = `must be at most ${MAX_NOTIFICATION_BYTES} bytes as JSON, not counting to`

const REQUIRED: ReadonlySet<string> = new Set(['to', 'type'])
const KNOWN: ReadonlySet<string> = new Set(Object.keys(BatchItem.shape))

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

/** Checks a notification that is unusual or invalid. */
function parse<T extends NotificationInput>(
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
  return encode(parsed.data, given, pointer)
}

/** Encodes the content of a valid notification, unless it is too large as it was `given`. */
function encode<T extends NotificationInput>(
  input: T,
  given: unknown,
  pointer: string
): Checked<T> {
  const content = encodeContent(input)
  // A UTF-16 code unit takes at most three bytes, and the other fields a few hundred: most
  // notifications need not be measured.
  const length = content.length + (input.expiresAt?.length ?? 0)
  if (
    length > MAX_NOTIFICATION_BYTES / 4 &&
    sizeOf(given as Record<string, unknown>) > MAX_NOTIFICATION_BYTES
  )
    return { faults: [{ pointer, detail: TOO_LARGE }], tooLarge: true }
  return { input, content }
}

/** Checks the body of one publish, parsed from JSON. Pointers of faults start there. */
export function checkNotification(value: unknown): Checked<NotificationInput> {
  const plain = plainNotification(value)
  return plain
    ? encode(plain, value, '')
    : parse(NotificationInput as Schema<NotificationInput>, value, '')
}

/** Checks one item of a batch by the same rules. Pointers of faults start with `pointer`. */
export function checkBatchItem(value: unknown, pointer: string): Checked<BatchItem> {
  const plain = plainBatchItem(value)
  return plain
    ? encode(plain, value, pointer)
    : parse(BatchItem as Schema<BatchItem>, value, pointer)
}
