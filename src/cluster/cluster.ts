import { z } from 'zod'
import type { Quota } from '../delivery/quota.ts'
import type { NodeAnswer, NodeQuery } from './node-query.ts'

/** What a node reports about itself to the others, every {@link BEAT_MS}. */
export const NodeReport = z.object({
  version: z.string(),
  status: z.enum(['ok', 'degraded', 'critical']),
  /** Codes of its recommendations, most severe first. */
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

/** A node as another node sees it. */
export interface NodeView {
  readonly node: string
  readonly report: NodeReport
  /** Milliseconds since 1970. */
  readonly lastSeenAt: number
}

/** This process, as the cluster sees it: what it reports, and how it answers. */
export interface LocalNode {
  report(): NodeReport
  answer<K extends NodeQuery['kind']>(question: Extract<NodeQuery, { kind: K }>): NodeAnswer<K>
  /** How many connections each user has here, including those being opened. */
  slots(): Iterable<readonly [user: string, count: number]>
  /** The same for one user. */
  slotsOf(user: string): number
}

/** The nodes that serve one log together; a single node is a cluster as well. */
export interface Cluster extends Quota {
  /** Announces this node and answers for it from now on. Call it once; it never throws. */
  join(node: LocalNode): void
  /**
   * All nodes this one knows to be alive, itself first. A dead node disappears when its lease
   * expires.
   */
  nodes(): readonly NodeView[]
  /** False while the other nodes cannot be asked: then only this one answers. */
  readonly reachable: boolean
  /**
   * Asks every node, this one included. Resolves to the answers within {@link ASK_MS}, its own
   * first; never rejects.
   */
  ask<K extends NodeQuery['kind']>(
    question: Extract<NodeQuery, { kind: K }>
  ): Promise<readonly NodeAnswer<K>[]>
  /** Gives up the lease. */
  leave(): Promise<void>
}
