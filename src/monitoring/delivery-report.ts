import type { ConnectionRecord, DeliveryRecord } from '../cluster/node-query.ts'
import { type Channel, channelsOf, topicOf } from '../log/channel.ts'
import type { Recipients } from '../log/notification.ts'
import { readsTopic } from './delivery-records.ts'

/** Combines what several processes know of one notification; undefined: none of them knows it. */
export function mergeRecords(records: readonly DeliveryRecord[]): DeliveryRecord | undefined {
  const [first] = records
  if (!first) return undefined
  // The process that accepted it knows most: who sent it to whom, and how long that took.
  const accepted = records.find(({ to }) => to !== null) ?? first
  const instants = (of: (one: DeliveryRecord) => number | null): number[] =>
    records.flatMap((one) => of(one) ?? [])
  const earliest = (of: (one: DeliveryRecord) => number | null): number | null =>
    instants(of).reduce<number | null>((least, at) => Math.min(least ?? at, at), null)
  return {
    ...accepted,
    connections: records.reduce((sum, { connections }) => sum + connections, 0),
    firstWrittenAt: earliest((one) => one.firstWrittenAt),
    lastWrittenAt: instants((one) => one.lastWrittenAt).reduce<number | null>(
      (most, at) => Math.max(most ?? at, at),
      null
    ),
    recalledAt: earliest((one) => one.recalledAt),
    replacedBy: records.find(({ replacedBy }) => replacedBy !== null)?.replacedBy ?? null
  }
}

/** What became of a notification as a whole: the `fate` of a report. */
export type Outcome =
  | 'stored'
  | 'ephemeral'
  | 'recalled'
  | 'replaced'
  | 'expired'
  | 'beyond_retention'

/** Why one user did or did not get a notification. */
export type Verdict =
  | Exclude<Outcome, 'stored' | 'ephemeral'>
  | 'not_addressed'
  | 'written'
  | 'behind'
  | 'topic_not_read'
  | 'not_connected'

/** What became of a notification, from what the store and the processes know. */
export function outcomeOf(stored: boolean, record: DeliveryRecord | undefined): Outcome {
  if (stored) return 'stored'
  if (record === undefined) return 'beyond_retention'
  if (record.recalledAt !== null) return 'recalled'
  if (record.replacedBy !== null) return 'replaced'
  if (record.expiresAt !== null && record.expiresAt <= Date.now()) return 'expired'
  return record.ephemeral ? 'ephemeral' : 'beyond_retention'
}

/** The channel that brings the notification to the user; undefined: none does. */
export function channelFor(to: Recipients, user: string): Channel | undefined {
  return channelsOf(to).find(
    (channel) => !channel.startsWith('user:') || channel === `user:${user}`
  )
}

/**
 * Explains why a user did or did not get a notification, and by which of their connections. `seq`
 * is that of its event in the user's channel; undefined: it has none there.
 */
export function explain(
  user: string,
  to: Recipients,
  outcome: Outcome,
  seq: number | undefined,
  writtenAt: number | null,
  all: readonly ConnectionRecord[]
): { readonly verdict: Verdict; readonly connections: readonly ConnectionRecord[] } {
  const channel = channelFor(to, user)
  if (channel === undefined) return { verdict: 'not_addressed', connections: [] }
  const topic = topicOf(channel)
  const readers = topic === undefined ? all : all.filter((one) => readsTopic(one, topic))
  const openThen = ({ openedAt, closedAt }: ConnectionRecord): boolean =>
    writtenAt !== null &&
    openedAt <= writtenAt &&
    (closedAt ?? Number.POSITIVE_INFINITY) >= writtenAt
  const reached = readers.filter((one) => (seq === undefined ? openThen(one) : one.seq >= seq))
  if (outcome !== 'stored' && outcome !== 'ephemeral')
    return { verdict: outcome, connections: reached }
  if (reached.length > 0) return { verdict: 'written', connections: reached }
  // An event that is not stored reaches only connections that were open when it was written.
  const open = all.filter((one) => (seq === undefined ? openThen(one) : one.closedAt === null))
  const behind = open.filter((one) => readers.includes(one))
  if (behind.length > 0) return { verdict: 'behind', connections: behind }
  return { verdict: open.length > 0 ? 'topic_not_read' : 'not_connected', connections: open }
}
