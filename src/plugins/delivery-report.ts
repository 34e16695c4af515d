import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { Cluster } from '../cluster/cluster.ts'
import type { ConnectionRecord, DeliveryRecord } from '../cluster/node-query.ts'
import { channelsOf } from '../log/channel.ts'
import { formatCursor } from '../log/cursor.ts'
import { iso } from '../log/iso.ts'
import { UserName } from '../log/names.ts'
import type { Recipients } from '../log/notification.ts'
import type { EventLog, NotificationDetails, Operator } from '../log/store.ts'
import { recipientsFor } from '../monitoring/delivery-records.ts'
import {
  channelFor,
  explain,
  mergeRecords,
  type Outcome,
  outcomeOf
} from '../monitoring/delivery-report.ts'
import { answers } from './schemas/answers.ts'
import { DeliveryReport, VERDICTS } from './schemas/delivery-report.ts'
import { ProblemError } from './schemas/problem.ts'

interface ReportOptions {
  readonly cluster: Cluster
  readonly store: ReportStore
}

type ReportStore = Pick<EventLog, 'logOf'> & Pick<Operator, 'details'>

/** What is known of a notification: by the store, by the processes, or by both. */
type Known =
  | { readonly stored: NotificationDetails; readonly record: DeliveryRecord | undefined }
  | { readonly stored: null; readonly record: DeliveryRecord }

/** Channels that a report lists; `channelCount` counts all. */
const MAX_CHANNELS = 100

/**
 * `GET /monitor/notifications/{id}`: what became of one notification, and with `user` why that user
 * did or did not get it. It never shows the notification's content.
 */
export default fp<ReportOptions>(
  async (instance, { cluster, store }) => {
    const app = instance.withTypeProvider<ZodTypeProvider>()
    app.get(
      '/monitor/notifications/:id',
      {
        onRequest: app.requireOperator,
        schema: {
          tags: ['operations'],
          security: [{ operator: [] }],
          operationId: 'traceNotification',
          summary: 'Delivery report of one notification',
          description:
            'Who sent it, what became of it, and with `user` why that user did or did not get it. Never its content.',
          params: z.object({ id: z.string() }),
          querystring: z.object({ user: UserName.optional().describe('Explain for this user') }),
          response: answers({ 200: DeliveryReport })
        }
      },
      async (request, reply) => {
        const { id } = request.params
        const { user } = request.query
        const [stored, found] = await Promise.all([
          store.details(id),
          cluster.ask({ kind: 'delivery-report', id, user })
        ])
        const known = knownOf(stored, mergeRecords(found.flatMap(({ record }) => record ?? [])))
        const connections = found.flatMap((answer) => answer.connections)
        return reply.header('cache-control', 'no-store').send({
          id,
          ...reportOf(known),
          ...(user === undefined ? {} : userReport(user, known, store, connections))
        })
      }
    )
  },
  { name: 'delivery-report', dependencies: ['auth'] }
)

function knownOf(stored: NotificationDetails | null, record: DeliveryRecord | undefined): Known {
  if (stored) return { stored, record }
  if (record) return { stored, record }
  throw new ProblemError(
    'not-found',
    'Nothing is known of this id: it never existed, or it is gone and no running process remembers it.'
  )
}

function reportOf({ stored, record }: Known) {
  const entries = stored?.entries ?? []
  return {
    fate: outcomeOf(stored !== null, record),
    acceptedAt: iso(stored === null ? record.acceptedAt : stored.createdAt),
    producer: (stored?.producer || record?.producer) ?? null,
    durableAfterMs: record?.durableAfterMs == null ? null : round(record.durableAfterMs),
    to: stored === null ? shownRecipients(record) : stored.to,
    channels: entries
      .slice(0, MAX_CHANNELS)
      .map(({ channel, seq, epoch }) => ({ channel, cursor: formatCursor(epoch, seq) })),
    channelCount: entries.length,
    expiresAt: isoOrNull(stored?.expiresAt ?? record?.expiresAt),
    recalledAt: isoOrNull(record?.recalledAt),
    replacedBy: record?.replacedBy ?? null,
    written: record ? writtenOf(record) : null,
    readers: stored ? readersOf(stored) : null
  }
}

/** Empty if the recipients are not known any more. */
function userReport(
  user: string,
  { stored, record }: Known,
  store: ReportStore,
  all: readonly ConnectionRecord[]
) {
  const to: Recipients | null = stored === null ? recipientsFor(record, user) : stored.to
  if (to === null) return {}
  const { epoch } = store.logOf(user)
  const channel = channelFor(to, user)
  const seq = stored?.entries.find((one) => one.channel === channel && one.epoch === epoch)?.seq
  const outcome = outcomeOf(stored !== null, record)
  // The notification may be stored, yet be gone from this user's channel: replaced, recalled, erased or
  // pruned there.
  const lost: Outcome = record?.recalledAt == null ? 'beyond_retention' : 'recalled'
  const gone = record?.replacedBy == null ? lost : 'replaced'
  const own = outcome === 'stored' && channel !== undefined && seq === undefined ? gone : outcome
  const writtenAt = record?.firstWrittenAt ?? null
  const { verdict, connections } = explain(user, to, own, seq, writtenAt, all)
  return {
    user: {
      user,
      verdict,
      explanation: VERDICTS[verdict],
      connections: connections.map((one) => ({
        id: one.connection,
        openedAt: iso(one.openedAt),
        closedAt: isoOrNull(one.closedAt),
        reason: one.reason,
        cursor: one.seq < 0 ? null : formatCursor(epoch, one.seq)
      }))
    }
  }
}

const isoOrNull = (at: number | null | undefined): string | null => (at == null ? null : iso(at))
const round = (ms: number): number => Math.round(ms * 1000) / 1000

/** A process remembers a few of many recipients by name; `more` counts the others. */
function shownRecipients({ to, hashes }: DeliveryRecord): Record<string, unknown> | null {
  if (to === null || hashes === undefined || !('users' in to)) return to
  return { ...to, more: hashes.length - to.users.length }
}

const writtenOf = (record: DeliveryRecord) => ({
  connections: record.connections,
  firstAt: isoOrNull(record.firstWrittenAt),
  lastAt: isoOrNull(record.lastWrittenAt),
  firstAfterMs:
    record.firstWrittenAt === null ? null : Math.max(0, record.firstWrittenAt - record.acceptedAt)
})

/** How many have not read it is known only if the recipients are named. */
function readersOf({ to, readers, entries }: NotificationDetails) {
  const named = 'user' in to || 'users' in to
  return {
    ...readers,
    unread: named ? Math.min(channelsOf(to).length, entries.length) - readers.read : null
  }
}
