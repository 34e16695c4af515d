import { z } from 'zod'
import { MAX_ENTRIES } from '../bounds/limits.ts'
import type { CloseReason } from '../delivery/goodbye.ts'
import type { Recipients } from '../log/notification.ts'

/** What `GET /monitor/connections` sorts by. */
export const CONNECTION_SORTS = ['age', 'bufferedBytes', 'state'] as const

/** One open connection, for an operator. */
const ConnectionRow = z.object({
  id: z.string(),
  user: z.string(),
  transport: z.enum(['sse', 'websocket', 'poll']),
  /** At most {@link REMEMBERED_NAMES} topics. */
  topics: z.array(z.string()).readonly(),
  /** How many topics it reads; missing from nodes of an earlier version. */
  topicCount: z.number().optional(),
  /** Milliseconds since 1970. */
  openedAt: z.number(),
  cursor: z.string().nullable(),
  bufferedBytes: z.number(),
  frames: z.number(),
  remoteAddress: z.string(),
  state: z.enum(['live', 'replaying', 'blocked', 'stale', 'closed'])
})
export type ConnectionRow = z.output<typeof ConnectionRow>

/**
 * What one process knows of one notification, without its content. Instants are milliseconds since 1970;
 * null means that it has not happened, or that this process does not know.
 */
export const DeliveryRecord = z.object({
  /** At most {@link REMEMBERED_NAMES} users; if there were more, `hashes` has all of them. */
  to: z
    // Checked when it was published.
    .custom<Recipients>((to) => typeof to === 'object' && to !== null)
    .nullable(),
  hashes: z.array(z.number()).readonly().optional(),
  producer: z.string().nullable(),
  acceptedAt: z.number(),
  /** From the end of the request to the commit; null: another process accepted it. */
  durableAfterMs: z.number().nullable(),
  ephemeral: z.boolean(),
  expiresAt: z.number().nullable(),
  /** Live connections that it was written to. */
  connections: z.number(),
  firstWrittenAt: z.number().nullable(),
  lastWrittenAt: z.number().nullable(),
  recalledAt: z.number().nullable(),
  /** Id of the notification that replaced it. */
  replacedBy: z.string().nullable()
})
export type DeliveryRecord = z.output<typeof DeliveryRecord>

/** What a delivery report needs of one connection. Instants are milliseconds since 1970. */
export const ConnectionRecord = z.object({
  /** Public id of the connection. */
  connection: z.string(),
  user: z.string(),
  /** At most {@link REMEMBERED_NAMES} topics; if there were more, `hashes` has all of them. */
  topics: z.array(z.string()).readonly(),
  hashes: z.array(z.number()).readonly().optional(),
  openedAt: z.number(),
  /** Null: it is open. */
  closedAt: z.number().nullable(),
  reason: z.custom<CloseReason>((reason) => typeof reason === 'string').nullable(),
  /** The client has everything up to this `seq`; -1 before the first frame. */
  seq: z.number()
})
export type ConnectionRecord = z.output<typeof ConnectionRecord>

/** What a node may ask all nodes. Each answers for its own connections and its own memory. */
export const NodeQuery = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('count-user'), user: z.string() }),
  z.object({
    kind: z.literal('count-users'),
    users: z.array(z.string()).max(MAX_ENTRIES.presence).readonly()
  }),
  z.object({ kind: z.literal('close-connection'), id: z.string() }),
  z.object({
    kind: z.literal('list-connections'),
    user: z.string().optional(),
    sort: z.enum(CONNECTION_SORTS),
    limit: z.number()
  }),
  z.object({ kind: z.literal('delivery-report'), id: z.string(), user: z.string().optional() })
])
export type NodeQuery = z.output<typeof NodeQuery>

/**
 * The answer to each query. Another node may run another version: an answer that does not fit is
 * ignored.
 */
export const ANSWERS = {
  'count-user': z.number(),
  /** In the order of the users. */
  'count-users': z.array(z.number()).max(MAX_ENTRIES.presence).readonly(),
  'close-connection': z.boolean(),
  'list-connections': z.object({ rows: z.array(ConnectionRow), total: z.number() }),
  'delivery-report': z.object({
    record: DeliveryRecord.nullable(),
    connections: z.array(ConnectionRecord).readonly()
  })
} as const satisfies Record<NodeQuery['kind'], z.ZodType>
export type NodeAnswer<K extends NodeQuery['kind']> = z.output<(typeof ANSWERS)[K]>

/**
 * Cuts an answer for another node to `maxBytes` of JSON: a list keeps its first entries, as many
 * as fit. Totals still count all.
 */
export function boundAnswer(
  answer: NodeAnswer<NodeQuery['kind']>,
  maxBytes: number
): NodeAnswer<NodeQuery['kind']> {
  if (typeof answer !== 'object' || !('rows' in answer || 'record' in answer)) return answer
  if ('rows' in answer) return { ...answer, rows: fitting(answer.rows, maxBytes) }
  const { record, connections } = answer
  return { record, connections: fitting(connections, maxBytes - bytesOf(record)) }
}

const bytesOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value))

function fitting<T>(list: readonly T[], maxBytes: number): T[] {
  let left = maxBytes
  const end = list.findIndex((one) => {
    left -= bytesOf(one) + 1
    return left < 0
  })
  return end < 0 ? [...list] : list.slice(0, end)
}
