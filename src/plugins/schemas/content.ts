import { z } from 'zod'

/** What a producer wrote, as responses show it. */
export const contentMembers = {
  type: z.string(),
  title: z.string().optional(),
  body: z.string().optional(),
  url: z.string().optional(),
  image: z.string().optional(),
  level: z.enum(['info', 'success', 'warning', 'error']),
  data: z.record(z.string(), z.unknown()).optional(),
  key: z.string().optional()
} as const
