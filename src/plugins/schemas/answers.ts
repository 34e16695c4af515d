import type { z } from 'zod'

/** Answers by status, for the documentation. Handlers send JSON they encoded themselves, so the type provider need not know. */
export const answers = (schemas: Readonly<Record<number, z.ZodType>>): unknown => schemas
