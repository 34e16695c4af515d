import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { Cluster } from '../cluster/cluster.ts'
import { channelsOf } from '../log/channel.ts'
import { formatCursor } from '../log/cursor.ts'
import { UserName } from '../log/names.ts'
import type { Recipients } from '../log/notification.ts'
import type { EventLog, NotificationDetails, Operator } from '../log/store.ts'
import {
  channelFor,
  type Fate,
  judge,
  mergeSightings,
  type Reading,
  recipientsFor,
  type Sighting,
  type Verdict
} from '../monitoring/delivery-report.ts'
import { answers } from './schemas/answers.ts'
import { ProblemError } from './schemas/problem.ts'

interface TraceOptions {
  readonly cluster: Cluster
  readonly store: Pick<EventLog, 'logOf'> & Pick<Operator, 'details'>
}

/** Channels named one by one in an answer; of more, only their number. */
const MAX_CHANNELS = 100

const VERDICTS: Readonly<Record<Verdict, string>> = {
  not_addressed: 'It was not for this user.',
  recalled: 'It was recalled; who had not seen it before never will.',
  replaced: 'A later notification with the same key took its place.',
  expired: 'It expired.',
  beyond_retention: 'It is older, or further down its channel, than what is kept.',
  written: 'It was written to this user’s connection; what the page did with it is not known here.',
  behind: 'The user is connected but behind; it follows when they have read what comes before it.',
  topic_not_read:
    'The user is connected, but no connection reads this topic: the credential does not list it, or topics= left it out.',
  not_connected:
    'The user was not connected; if it is kept, it waits in the inbox and comes with the next connection (of a topic: if the credential lists it).'
}

const instant = z.iso.datetime()
const cursor = z.string()
const TraceAnswer = z
  .object({
    id: z.string(),
    fate: z.enum(['stored', 'ephemeral', 'recalled', 'replaced', 'expired', 'beyond_retention']),
    acceptedAt: instant,
    producer: z
      .string()
      .nullable()
      .describe('Name of the publish key; null where it is not known any more'),
    durableAfterMs: z.number().nullable().describe('Null where a process that ended took it'),
    to: z
      .record(z.string(), z.unknown())
      .nullable()
      .describe(
        'If only the memory of a process knows it: at most 20 users, and in `more` how many others'
      ),
    channels: z
      .array(z.object({ channel: z.string(), cursor }))
      .describe('Where it lies now; at most 100'),
    channelCount: z.int(),
    expiresAt: instant.nullable(),
    recalledAt: instant.nullable(),
    replacedBy: z.string().nullable(),
    written: z
      .object({
        connections: z.int(),
        firstAt: instant.nullable(),
        lastAt: instant.nullable(),
        firstAfterMs: z.number().nullable()
      })
      .nullable()
      .describe(
        'By all nodes to live connections; replays come on top. Null where no running process saw it'
      ),
    readers: z
      .object({ seen: z.int(), read: z.int(), archived: z.int(), unread: z.int().nullable() })
      .nullable(),
    user: z
      .object({
        user: z.string(),
        verdict: z.enum(Object.keys(VERDICTS) as [Verdict, ...Verdict[]]),
        explanation: z.string(),
        connections: z.array(
          z.object({
            id: z.string(),
            openedAt: instant,
            closedAt: instant.nullable(),
            reason: z.string().nullable(),
            cursor: cursor.nullable()
          })
        )
      })
      .optional()
  })
  .describe('What is known of it')

const iso = (at: number): string => new Date(at).toISOString()
const isoOrNull = (at: number | null | undefined): string | null => (at == null ? null : iso(at))

/** `GET /monitor/notifications/{id}`: what became of one notification, and for one user why they did or did not get it. No content. */
export default fp<TraceOptions>(
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
          summary: 'Trace of one notification',
          description:
            'Who sent it, how it got on, and with `user` why that user did or did not get it. No content.',
          params: z.object({ id: z.string() }),
          querystring: z.object({ user: UserName.optional().describe('Judge for this user') }),
          response: answers({ 200: TraceAnswer })
        }
      },
      async (request, reply) => {
        const { id } = request.params
        const { user } = request.query
        const [stored, answers] = await Promise.all([
          store.details(id),
          cluster.ask({ kind: 'trace', id, user })
        ])
        const seen = mergeSightings(answers.flatMap(({ sighting }) => sighting ?? []))
        const readings = answers.flatMap((answer) => answer.readings)
        if (!stored && !seen) {
          throw new ProblemError(
            'not-found',
            'Nothing is known of this id: it never existed, or it is gone and no running process has had it lately.'
          )
        }
        const to = stored?.to ?? (seen ? shownRecipients(seen) : null)
        const toUser =
          user === undefined ? null : (stored?.to ?? (seen ? recipientsFor(seen, user) : null))
        const fate = fateOf(stored, seen)
        const entries = stored?.entries ?? []
        return reply.header('cache-control', 'no-store').send({
          id,
          fate,
          acceptedAt: iso(stored?.createdAt ?? seen!.acceptedAt),
          producer: (stored?.producer || seen?.producer) ?? null,
          durableAfterMs: seen?.durableAfterMs == null ? null : round(seen.durableAfterMs),
          to,
          channels: entries
            .slice(0, MAX_CHANNELS)
            .map(({ channel, seq, epoch }) => ({ channel, cursor: formatCursor(epoch, seq) })),
          channelCount: entries.length,
          expiresAt: isoOrNull(stored?.expiresAt ?? seen?.expiresAt),
          recalledAt: isoOrNull(seen?.recalledAt),
          replacedBy: seen?.replacedBy ?? null,
          written: seen ? writtenOf(seen) : null,
          readers: stored ? readersOf(stored) : null,
          ...(user === undefined || toUser === null
            ? {}
            : { user: judgeFor(user, toUser, fate, stored, seen, readings) })
        })
      }
    )

    function judgeFor(
      user: string,
      to: Recipients,
      fate: Fate,
      stored: NotificationDetails | null,
      seen: Sighting | undefined,
      all: readonly Reading[]
    ) {
      const channel = channelFor(to, user)
      const seq = stored?.entries.find(
        (one) => one.channel === channel && one.epoch === store.logOf(user).epoch
      )?.seq
      // Collapsed, erased or pruned from this user's channel alone.
      const gone: Fate = seen?.replacedBy == null ? 'beyond_retention' : 'replaced'
      const own = fate === 'stored' && channel !== undefined && seq === undefined ? gone : fate
      const { verdict, readings } = judge(user, to, own, seq, seen?.firstWrittenAt ?? null, all)
      return {
        user,
        verdict,
        explanation: VERDICTS[verdict],
        connections: readings.map(connectionOf)
      }
    }

    const connectionOf = (reading: Reading) => ({
      id: reading.connection,
      openedAt: iso(reading.openedAt),
      closedAt: isoOrNull(reading.closedAt),
      reason: reading.reason,
      cursor:
        reading.place < 0 ? null : formatCursor(store.logOf(reading.user).epoch, reading.place)
    })
  },
  { name: 'delivery-report', dependencies: ['auth'] }
)

const round = (ms: number): number => Math.round(ms * 1000) / 1000

function fateOf(stored: NotificationDetails | null, seen: Sighting | undefined): Fate {
  if (stored) return 'stored'
  if (seen?.recalledAt != null) return 'recalled'
  if (seen?.replacedBy != null) return 'replaced'
  if (seen?.expiresAt != null && seen.expiresAt <= Date.now()) return 'expired'
  return seen?.ephemeral ? 'ephemeral' : 'beyond_retention'
}

/** Of many recipients the memory of a process knows a few by name. */
function shownRecipients({ to, hashes }: Sighting): object | null {
  if (to === null || hashes === undefined || !('users' in to)) return to
  return { ...to, more: hashes.length - to.users.length }
}

const writtenOf = (seen: Sighting) => ({
  connections: seen.connections,
  firstAt: isoOrNull(seen.firstWrittenAt),
  lastAt: isoOrNull(seen.lastWrittenAt),
  firstAfterMs:
    seen.firstWrittenAt === null ? null : Math.max(0, seen.firstWrittenAt - seen.acceptedAt)
})

/** How many have not read it is known only where the recipients are named. */
function readersOf({ to, readers, entries }: NotificationDetails) {
  const named = 'user' in to || 'users' in to
  return {
    ...readers,
    unread: named ? Math.min(channelsOf(to).length, entries.length) - readers.read : null
  }
}
