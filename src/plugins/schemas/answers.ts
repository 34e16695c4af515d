import type { z } from 'zod'

/** How a subscriber signs in, for the documentation: each of these alone suffices. */
export const SUBSCRIBER_CREDENTIALS = [{ ticket: [] }, { bearer: [] }, { cookie: [] }]

/**
 * Responses by status, for the documentation. Handlers encode their JSON themselves, so the type
 * provider does not need the types.
 */
export const answers = (schemas: Readonly<Record<number, z.ZodType>>): unknown => schemas
