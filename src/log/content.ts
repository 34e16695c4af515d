/// <reference lib="es2024.string" />
import { z } from 'zod'
import { MAX_DATA_DEPTH } from '../bounds/limits.ts'

// biome-ignore lint/suspicious/noControlCharactersInRegex: this pattern rejects them
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/
const HTTP_URL = /^https?:\/\//i
/** A path on the same host. `//` and, in browsers, `/\` would lead to another host. */
const LOCAL_PATH = /^\/(?![/\\])/

/** What is wrong with a string that UTF-8 cannot encode. */
export const WELL_FORMED = 'must not hold half of a surrogate pair'

const text = (max: number) =>
  z
    .string()
    .max(max, `must be at most ${max} characters`)
    .refine((value) => value.isWellFormed(), WELL_FORMED)
    .describe(`At most ${max} characters (Unicode code points)`)

/** Whether a string is an http(s) address, or a path on the same host. */
function isSafeUrl(url: string): boolean {
  if (CONTROL.test(url)) return false
  return HTTP_URL.test(url) ? URL.canParse(url) : LOCAL_PATH.test(url)
}

const address = z
  .string()
  .refine(
    isSafeUrl,
    'must be an http(s) address, or a path that begins with / followed by neither / nor \\; without control characters'
  )
  .refine((value) => value.isWellFormed(), WELL_FORMED)

/** Matches the type of a notification. */
const TYPE_PATTERN = /^[A-Za-z0-9_.:-]{1,64}$/
/** Matches a collapse key. */
const KEY_PATTERN = /^[ -~]{1,128}$/
/** How important a notification may be. */
const LEVELS = ['info', 'success', 'warning', 'error'] as const
/** Maximum length of a text, in characters. */
const TEXT_LENGTHS = { title: 200, body: 4000 } as const

const Type = z.string().regex(TYPE_PATTERN, 'must be 1–64 characters of A–Z a–z 0–9 _ . : -')
const Level = z.enum(LEVELS, 'must be info, success, warning or error')
/** Schema for a collapse key. */
export const Key = z.string().regex(KEY_PATTERN, 'must be 1–128 printable ASCII characters')

/**
 * The fields that a producer writes and a subscriber reads. To add one, add a row here, to
 * {@link plainFields}, {@link storedFields} and {@link encodeContent}, and to `Item` of the browser
 * SDK.
 */
export const contentFields = {
  type: Type.describe('What kind of thing happened'),
  title: text(TEXT_LENGTHS.title).optional(),
  body: text(TEXT_LENGTHS.body).optional(),
  url: address.optional().describe('Where a click leads'),
  image: address.optional().describe('A picture to show beside it, such as the sender’s'),
  level: Level.default('info'),
  // `data-flaws.ts` checks its values before the schema copies them.
  data: z
    .record(z.string(), z.unknown(), 'must be an object')
    .optional()
    .describe(`Any JSON object, nested at most ${MAX_DATA_DEPTH} deep`),
  key: Key.optional().describe(
    'Collapse key: replaces the earlier notification with the same key in the same channel'
  )
} as const

/** Whether a value is certainly valid. */
export type Rule = (value: unknown) => boolean

/** Accepts a string that matches a pattern. */
export const matches =
  (pattern: RegExp): Rule =>
  (value) =>
    typeof value === 'string' && pattern.test(value)

const isText =
  (max: number): Rule =>
  (value) =>
    typeof value === 'string' && value.length <= max && value.isWellFormed()

const isAddress: Rule = (value) =>
  typeof value === 'string' && value.isWellFormed() && isSafeUrl(value)

/**
 * The same rules for usual values, without the schema, which takes ten times as long; `data` is
 * checked in `plain-notification.ts`. A notification with a field that has no row here is only
 * slower to check.
 */
export const plainFields = {
  type: matches(TYPE_PATTERN),
  title: isText(TEXT_LENGTHS.title),
  body: isText(TEXT_LENGTHS.body),
  url: isAddress,
  image: isAddress,
  level: (value) => LEVELS.some((level) => level === value),
  key: matches(KEY_PATTERN)
} as const satisfies Readonly<Partial<Record<keyof typeof contentFields, Rule>>>

/** The same fields as they are stored: an import takes what other rules once accepted. */
export const storedFields = {
  type: Type,
  title: z.string().optional(),
  body: z.string().optional(),
  url: z.string().optional(),
  image: z.string().optional(),
  level: Level,
  data: z.record(z.string(), z.unknown()).optional(),
  key: Key.optional()
} as const satisfies Readonly<Record<keyof typeof contentFields, z.ZodType>>

/** What a producer wrote, validated. */
export type Content = z.output<z.ZodObject<typeof storedFields>>

/**
 * The content as JSON members without braces. `type` and `level` never need escaping. Not a loop
 * over the table: that takes three times as long, for every notification.
 */
export function encodeContent(content: Content): string {
  let members = `"type":"${content.type}"`
  if (content.title !== undefined) members += `,"title":${JSON.stringify(content.title)}`
  if (content.body !== undefined) members += `,"body":${JSON.stringify(content.body)}`
  if (content.url !== undefined) members += `,"url":${JSON.stringify(content.url)}`
  if (content.image !== undefined) members += `,"image":${JSON.stringify(content.image)}`
  members += `,"level":"${content.level}"`
  if (content.data !== undefined) members += `,"data":${JSON.stringify(content.data)}`
  if (content.key !== undefined) members += `,"key":${JSON.stringify(content.key)}`
  return members
}
