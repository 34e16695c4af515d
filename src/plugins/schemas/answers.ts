import type { z } from 'zod'

/**
 * Responses by status, for the documentation. Handlers encode their JSON themselves, so the type
 * provider does not need the types.
 */
export const answers = (schemas: Readonly<Record<number, z.ZodType>>): unknown => schemas
