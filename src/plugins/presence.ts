import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { MAX_ENTRIES } from '../bounds/limits.ts'
import type { Cluster } from '../cluster/cluster.ts'
import { USER_PATTERN, USER_RULE } from '../log/names.ts'
import { answers, producerWith } from './schemas/answers.ts'
import { ProblemError } from './schemas/problem.ts'
import { sendJson } from './transports/send-json.ts'

interface PresenceOptions {
  readonly cluster: Pick<Cluster, 'ask' | 'reachable'>
}

const MOST = MAX_ENTRIES.presence

const PresenceQuery = z.object({
  users: z
    .string()
    .describe(`1–${MOST} user names, separated by commas`)
    .transform((text): readonly string[] => [...new Set(text.split(','))])
    .refine((users) => users.length <= MOST, `must list at most ${MOST} users`)
    .refine(
      (users) => users.every((user) => USER_PATTERN.test(user)),
      `must be user names separated by commas; each ${USER_RULE}`
    )
})

const PresenceAnswer = z.object({
  users: z.record(
    z.string(),
    z.object({
      online: z.boolean(),
      connections: z.int().describe('Streams, sockets and waiting polls on all nodes')
    })
  )
})

/** `GET /v1/presence`: who is connected now, on any node. */
export default fp<PresenceOptions>(
  async (instance, { cluster }) => {
    const app = instance.withTypeProvider<ZodTypeProvider>()
    app.get(
      '/v1/presence',
      {
        onRequest: app.requireProducer('users'),
        schema: {
          tags: ['publish'],
          security: producerWith('users'),
          operationId: 'getPresence',
          summary: 'Which users are connected now',
          description:
            'Counts the connections on all nodes that answer within half a second. 503 while the other nodes cannot be asked.',
          querystring: PresenceQuery,
          response: answers({ 200: PresenceAnswer })
        }
      },
      async ({ query: { users } }, reply) => {
        // Without the other nodes a user who is connected there would seem to be away.
        if (!cluster.reachable)
          throw new ProblemError('unavailable', 'The other nodes cannot be asked; retry.', {
            retryAfter: 1
          })
        const counts = await cluster.ask({ kind: 'count-users', users })
        const rows = users.map((user, index) => {
          const connections = counts.reduce((sum, node) => sum + (node[index] ?? 0), 0)
          return [user, { online: connections > 0, connections }] as const
        })
        reply.header('cache-control', 'no-store')
        return sendJson(reply, JSON.stringify({ users: Object.fromEntries(rows) }))
      }
    )
  },
  { name: 'presence', dependencies: ['auth'] }
)
