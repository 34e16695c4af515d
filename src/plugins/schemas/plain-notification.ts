import { MAX_ENTRIES } from '../../bounds/limits.ts'
import { matches, plainFields, type Rule } from '../../log/content.ts'
import { TOPIC_PATTERN, USER_PATTERN } from '../../log/names.ts'
import { flawOf, isRecord } from './data-flaws.ts'
import { type BatchItem, IDEMPOTENCY_KEY, type NotificationInput } from './publish-body.ts'

// Most notifications are valid, and none of their fields is unusual. These rules recognize them
// in 1 µs; the schemas take 10. They accept nothing that the schemas reject, and decide nothing
// else: whatever they do not accept goes to the schemas, which explain what is wrong.

const isUser = matches(USER_PATTERN)

/** Whether each field of a record has a rule, and passes it. */
function passes(record: Record<string, unknown>, rules: ReadonlyMap<string, Rule>): boolean {
  for (const name of Object.keys(record)) if (!rules.get(name)?.(record[name])) return false
  return true
}

const RECIPIENTS: ReadonlyMap<string, Rule> = new Map([
  ['user', isUser],
  [
    'users',
    (users: unknown) =>
      Array.isArray(users) &&
      users.length > 0 &&
      users.length <= MAX_ENTRIES.recipients &&
      users.every(isUser)
  ],
  ['topic', matches(TOPIC_PATTERN)],
  ['everyone', (value: unknown) => value === true]
])

const isTo: Rule = (to) => isRecord(to) && Object.keys(to).length === 1 && passes(to, RECIPIENTS)

// `expiresAt` is missing on purpose: only the schema knows what an instant is.
const FIELDS: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ['to', isTo],
  ...Object.entries(plainFields),
  ['data', (value) => isRecord(value) && flawOf(value, 1) === undefined],
  ['ttl', (value) => Number.isInteger(value) && Number(value) >= 1],
  ['ephemeral', (value) => typeof value === 'boolean']
])
const ITEM_FIELDS = new Map([...FIELDS, ['idempotencyKey', matches(IDEMPOTENCY_KEY)]])

/** Input of a schema: `level` has a default. */
type Given<T extends NotificationInput> = Omit<T, 'level'> & Partial<Pick<T, 'level'>>

const isPlain = (value: unknown, fields: ReadonlyMap<string, Rule>): boolean =>
  isRecord(value) && 'to' in value && 'type' in value && passes(value, fields)

const isPlainInput = (value: unknown): value is Given<NotificationInput> => isPlain(value, FIELDS)
const isPlainItem = (value: unknown): value is Given<BatchItem> => isPlain(value, ITEM_FIELDS)

// `level` stands before the spread: after it, V8 defines it in slow code, 2 µs of each publish.

/** A notification as its schema returns it, if it is plain and valid; otherwise undefined. */
export const plainNotification = (value: unknown): NotificationInput | undefined =>
  isPlainInput(value) ? { level: 'info', ...value } : undefined

/** The same for an item of a batch. */
export const plainBatchItem = (value: unknown): BatchItem | undefined =>
  isPlainItem(value) ? { level: 'info', ...value } : undefined
