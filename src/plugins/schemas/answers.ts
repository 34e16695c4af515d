import type { z } from 'zod'
import type { Scope } from '../../config/config.ts'

/** How a subscriber signs in, for the documentation: each of these alone suffices. */
export const SUBSCRIBER_CREDENTIALS = [{ ticket: [] }, { bearer: [] }, { cookie: [] }]

/** How a producer signs in, for the documentation: with a publish key that has the scope. */
export const producerWith = (scope: Scope) => [{ producer: [scope] }]

/**
 * Responses by status, for the documentation. Handlers encode their JSON themselves, so the type
 * provider does not need the types.
 */
export const answers = (schemas: Readonly<Record<number, z.ZodType>>): unknown => schemas
