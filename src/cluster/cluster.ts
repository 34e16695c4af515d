import { z } from 'zod'
import type { Quota } from '../delivery/quota.ts'
import { ConnectionRecord, DeliveryRecord } from '../monitoring/delivery-records.ts'

/** What a node tells the others of itself, every {@link BEAT_MS}. */
export const NodeReport = z.object({
  version: z.string(),
  status: z.enum(['ok', 'degraded', 'critical']),
  /** Codes of what it recommends to its operator, gravest first. */
  recommendations: z.array(z.string()),
  draining: z.boolean(),
  uptimeSeconds: z.number(),
  connections: z.number(),
  users: z.number(),
  stale: z.number(),
  slow: z.number(),
  publishedPerSecond: z.number(),
  framesPerSecond: z.number(),
  errorsPerMinute: z.number(),
  eventLoopLagMs: z.number(),
  rssBytes: z.number()
})
export type NodeReport = z.output<typeof NodeReport>

/** A node as the others see it. */
export interface NodeView {
  readonly node: string
  readonly report: NodeReport
  /** Milliseconds since 1970. */
  readonly lastSeenAt: number
}

/** What `GET /monitor/connections` sorts by. */
export const CONNECTION_SORTS = ['age', 'bufferedBytes', 'state'] as const

/** One open connection, for an operator. */
const ConnectionRow = z.object({
  id: z.string(),
  user: z.string(),
  transport: z.enum(['sse', 'websocket', 'poll']),
  /** At most {@link REMEMBERED_NAMES}. */
  topics: z.array(z.string()).readonly(),
  /** How many it reads; a node of an earlier version does not say. */
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

/** What one node may ask all: each about its own connections, and what its process remembers. */
export const Question = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('count-user'), user: z.string() }),
  z.object({ kind: z.literal('close-connection'), id: z.string() }),
  z.object({
    kind: z.literal('list-connections'),
    user: z.string().optional(),
    sort: z.enum(CONNECTION_SORTS),
    limit: z.number()
  }),
  z.object({ kind: z.literal('delivery-report'), id: z.string(), user: z.string().optional() })
])
export type Question = z.output<typeof Question>

/** What one node answers. Another node may run another version: what does not fit is no answer. */
export const ANSWERS = {
  'count-user': z.number(),
  'close-connection': z.boolean(),
  'list-connections': z.object({ rows: z.array(ConnectionRow), total: z.number() }),
  'delivery-report': z.object({
    record: DeliveryRecord.nullable(),
    connections: z.array(ConnectionRecord).readonly()
  })
} as const satisfies Record<Question['kind'], z.ZodType>
export type Answer<K extends Question['kind']> = z.output<(typeof ANSWERS)[K]>

/**
 * An answer as it is sent to another node: of a list as many entries, from its beginning, as fit into so many bytes of JSON.
 * The totals beside it still count all.
 */
export function boundAnswer(
  answer: Answer<Question['kind']>,
  maxBytes: number
): Answer<Question['kind']> {
  if (typeof answer !== 'object') return answer
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

/** What a node gives to the cluster it joins. */
export interface Member {
  report(): NodeReport
  answer<K extends Question['kind']>(question: Extract<Question, { kind: K }>): Answer<K>
  /** How many connections each user has here, those that are being opened included. */
  held(): Iterable<readonly [user: string, count: number]>
  /** The same of one user. */
  heldOf(user: string): number
}

/** The nodes that serve one log together; one is a cluster, too. */
export interface Cluster extends Quota {
  /** Makes this node known, and answers for it from now on. Called once; nothing that happens later makes it reject. */
  join(member: Member): void
  /** All nodes that are alive as far as this one knows, itself first. One that died is gone when its lease is over. */
  nodes(): readonly NodeView[]
  /** Asks every node, this one included; the answers that came within {@link ASK_MS}, its own first. Never rejects. */
  ask<K extends Question['kind']>(
    question: Extract<Question, { kind: K }>
  ): Promise<readonly Answer<K>[]>
  /** Gives up the lease. */
  leave(): Promise<void>
}
