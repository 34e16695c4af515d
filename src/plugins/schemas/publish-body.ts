import { createHash } from 'node:crypto'
import { z } from 'zod'
import { MAX_ENTRIES, MAX_INSTANT } from '../../bounds/limits.ts'
import { contentFields, storedFields } from '../../log/content.ts'
import { TopicGrant, TopicName, UserName } from '../../log/names.ts'
import type { Recipients } from '../../log/notification.ts'

/** Form of an idempotency key. */
export const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/

const To = z
  .strictObject({
    user: UserName.optional(),
    users: z
      .array(UserName)
      .min(1, 'must name at least one user')
      .refine(
        (users) => new Set(users).size <= MAX_ENTRIES.recipients,
        `must name at most ${MAX_ENTRIES.recipients} users; use a topic for more`
      )
      .optional(),
    topic: TopicName.optional(),
    everyone: z.literal(true, 'must be true').optional()
  })
  .refine(
    (to) => Object.keys(to).length === 1,
    'must have exactly one of user, users, topic, everyone'
  )
  .meta({ description: 'Exactly one of the four', minProperties: 1, maxProperties: 1 })

const members = {
  to: To,
  ...contentFields,
  expiresAt: z.iso
    .datetime({
      offset: true,
      error: 'must be an ISO 8601 instant with offset, like 2030-01-01T00:00:00Z'
    })
    .optional(),
  ttl: z
    .number()
    .min(1, 'must be at least 1')
    .refine(Number.isInteger, 'must be a whole number of seconds')
    .meta({ type: 'integer', description: 'Seconds until it expires; instead of expiresAt' })
    .optional(),
  ephemeral: z
    .boolean()
    .optional()
    .describe('Only for clients that are connected now: neither stored nor counted')
}

const oneExpiry = (value: { ttl?: number | undefined; expiresAt?: string | undefined }): boolean =>
  value.ttl === undefined || value.expiresAt === undefined
const ONE_EXPIRY = {
  message: 'must not be combined with ttl: send one of the two',
  path: ['expiresAt']
}

const EXAMPLE = {
  to: { user: 'alice' },
  type: 'comment',
  title: 'Carol commented on your draft',
  body: 'Looks good, ship it.',
  url: '/drafts/7',
  level: 'info',
  data: { draft: 7 }
}

/** What a producer sends. */
export const NotificationInput = z
  .strictObject(members)
  .refine(oneExpiry, ONE_EXPIRY)
  .meta({ examples: [EXAMPLE] })
/** A valid body of a publish. */
export type NotificationInput = z.output<typeof NotificationInput>

/** An item of a batch. */
export const BatchItem = z
  .strictObject({
    ...members,
    idempotencyKey: z
      .string()
      .regex(IDEMPOTENCY_KEY, 'must be 1–255 visible ASCII characters')
      .optional()
  })
  .refine(oneExpiry, ONE_EXPIRY)
/** A valid item of a batch. */
export type BatchItem = z.output<typeof BatchItem>

/**
 * Body of a batch. Items are checked one by one, so that an invalid one does not affect the others.
 */
export const BatchInput = z
  .strictObject({
    notifications: z
      .array(z.unknown())
      .min(1, 'must hold at least one notification')
      .max(MAX_ENTRIES.batch, `must hold at most ${MAX_ENTRIES.batch} notifications`)
      .describe('Each like the body of POST /v1/notifications, with an optional idempotencyKey')
  })
  .meta({
    examples: [
      {
        notifications: [
          EXAMPLE,
          {
            to: { topic: 'news' },
            type: 'deploy.finished',
            title: 'Version 2.4 is live',
            level: 'success',
            key: 'deploy',
            ttl: 86_400
          }
        ]
      }
    ]
  })

/** Answer to a publish. */
export const Created = z
  .object({ id: z.string(), createdAt: z.iso.datetime() })
  .describe(
    'Accepted and durable. `Location` is its address; `Idempotent-Replayed: true` means that it was accepted before'
  )
/** Answer to a batch. */
export const BatchResults = z
  .object({
    results: z.array(
      z.union([
        z.object({ status: z.literal(201), id: z.string(), createdAt: z.iso.datetime() }),
        z.object({
          status: z.union([z.literal(422), z.literal(503), z.literal(507), z.literal(500)]),
          problem: z.record(z.string(), z.unknown())
        })
      ])
    )
  })
  .describe('A result for each item, in order; items with 201 are durable')
/** A notification, looked up by its id. */
export const StoredNotificationAnswer = z
  .object({
    id: z.string(),
    to: z.record(z.string(), z.unknown()),
    ...storedFields,
    createdAt: z.iso.datetime(),
    expiresAt: z.iso.datetime().optional()
  })
  .describe('As it is stored')

/** Body of a request for a ticket. */
export const TicketInput = z
  .strictObject({
    user: UserName,
    topics: z
      .array(TopicGrant)
      .max(MAX_ENTRIES.grants, `must name at most ${MAX_ENTRIES.grants} topics`)
      .nullable()
      .default([])
  })
  .meta({ examples: [{ user: 'alice', topics: ['news', 'project:*'] }] })
/** A ticket. */
export const TicketAnswer = z
  .object({ ticket: z.string(), expiresAt: z.iso.datetime() })
  .describe('Valid for one request with `?ticket=`, until `expiresAt`')

/** The recipients, each user once. */
export function recipientsOf(to: NotificationInput['to']): Recipients {
  if (to.user !== undefined) return { user: to.user }
  if (to.users !== undefined) return { users: [...new Set(to.users)] }
  if (to.topic !== undefined) return { topic: to.topic }
  return { everyone: true }
}

/** When it expires, in milliseconds since 1970; undefined if never. */
export function expiryOf(input: NotificationInput, now: number): number | undefined {
  if (input.expiresAt !== undefined) return Math.min(Date.parse(input.expiresAt), MAX_INSTANT)
  if (input.ttl !== undefined) return Math.min(now + input.ttl * 1000, MAX_INSTANT)
  return undefined
}

/** JSON with sorted names, so that the order of fields does not matter. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined)
  entries.sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([key, inner]) => `${JSON.stringify(key)}:${canonical(inner)}`).join(',')}}`
}

/**
 * A hash of the request, to compare requests with the same idempotency key. `ttl` counts as
 * written.
 */
export function fingerprintOf(input: NotificationInput): string {
  return createHash('sha256').update(canonical(input)).digest('base64url')
}
