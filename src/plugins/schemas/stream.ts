import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { READY_ITEMS } from '../../bounds/limits.ts'
import { TOPICS_QUERY } from './topics.ts'

const count = (low: number, high: number, fallback: number) =>
  z
    .string()
    .regex(/^\d{1,6}$/, `must be a whole number from ${low} to ${high}`)
    .default(String(fallback))
    .transform(Number)
    .pipe(z.number().min(low, `must be ${low}–${high}`).max(high, `must be ${low}–${high}`))

const shared = {
  topics: z.string().optional().describe(TOPICS_QUERY),
  since: z.string().optional().describe('Cursor to go on from'),
  lastEventId: z.string().optional().describe('Alias of since'),
  last_event_id: z.string().optional().describe('Alias of since'),
  ticket: z.string().optional().describe('Single-use ticket from POST /v1/tickets'),
  items: count(0, 100, READY_ITEMS).describe('Size of the page in ready')
}

/** Query of the stream. */
export const StreamQuery = z.object(shared)
/** A valid query of the stream. */
export type StreamQuery = z.output<typeof StreamQuery>
/** Query of a poll. */
export const ChangesQuery = z.object({
  ...shared,
  wait: count(0, 30, 0).describe('Seconds to wait for an event'),
  limit: count(1, 500, 100).describe(
    'Events of the log in one answer; one heartbeat with counts may follow them'
  )
})

/** Answer to a poll. */
export const ChangesAnswer = z
  .object({
    events: z.array(
      z.object({
        event: z.enum(['ready', 'notification', 'state', 'reset', 'heartbeat', 'goodbye']),
        id: z.string().optional(),
        data: z.record(z.string(), z.unknown())
      })
    ),
    cursor: z.string().describe('`since` of the next poll'),
    more: z.boolean().describe('The log has more events: poll again at once')
  })
  .describe('Events in order, and the cursor for the next poll')

/** The cursor of a request: the header takes precedence over the aliases, and they over `since`. */
export function cursorOf(
  request: FastifyRequest,
  query: {
    since?: string | undefined
    lastEventId?: string | undefined
    last_event_id?: string | undefined
  }
): string | undefined {
  const header = request.headers['last-event-id']
  const candidates = [
    Array.isArray(header) ? header[0] : header,
    query.lastEventId,
    query.last_event_id,
    query.since
  ]
  return candidates.find((cursor) => cursor !== undefined && cursor !== '')
}
