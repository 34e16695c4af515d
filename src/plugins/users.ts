import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { iso } from '../log/iso.ts'
import { UserName } from '../log/names.ts'
import type { Store } from '../log/store.ts'
import { answers, producerWith } from './schemas/answers.ts'
import { TicketAnswer, TicketInput } from './schemas/publish-body.ts'
import { sendJson } from './transports/send-json.ts'

interface UserOptions {
  readonly store: Pick<Store, 'erase'>
  /** Issues a single-use ticket; `expiresAt` is in milliseconds since 1970. */
  readonly issueTicket: (
    user: string,
    topics: readonly string[]
  ) => Promise<{ readonly ticket: string; readonly expiresAt: number }>
  /**
   * Revokes the credentials a user has now and ends their streams; resolves to the number of
   * streams.
   */
  readonly revoke: (user: string) => Promise<number>
}

const documented = { tags: ['publish'], security: producerWith('users') }

/** Routes for users: issue a ticket, revoke a user's credentials, erase a user's data. */
export default fp<UserOptions>(
  async (instance, { store, issueTicket, revoke }) => {
    const app = instance.withTypeProvider<ZodTypeProvider>()
    const onRequest = app.requireProducer('users')
    const ofUser = { ...documented, params: z.object({ user: UserName }) }

    app.post(
      '/v1/tickets',
      {
        onRequest: app.requireProducer('tickets'),
        schema: {
          ...documented,
          security: producerWith('tickets'),
          operationId: 'issueTicket',
          summary: 'Issue a single-use ticket for a subscriber, valid for 30 s',
          body: TicketInput,
          response: answers({ 201: TicketAnswer })
        }
      },
      async ({ body }, reply) => {
        const { ticket, expiresAt } = await issueTicket(body.user, body.topics ?? [])
        reply.code(201).header('cache-control', 'no-store')
        return sendJson(reply, JSON.stringify({ ticket, expiresAt: iso(expiresAt) }))
      }
    )

    app.delete(
      '/v1/users/:user/connections',
      {
        onRequest,
        schema: {
          ...ofUser,
          operationId: 'revokeUser',
          summary: 'End a user’s streams and reject the credentials they have now',
          response: answers({
            200: z.object({ closed: z.int() }).describe('The number of streams that end')
          })
        }
      },
      async ({ params }, reply) =>
        sendJson(reply, JSON.stringify({ closed: await revoke(params.user) }))
    )

    app.delete(
      '/v1/users/:user',
      {
        onRequest,
        schema: {
          ...ofUser,
          operationId: 'eraseUser',
          summary: 'Erase a user’s inbox and state',
          response: answers({ 204: z.null().describe('Erased') })
        }
      },
      async ({ params }, reply) => {
        await store.erase(params.user)
        return reply.code(204).send()
      }
    )
  },
  { name: 'users', dependencies: ['auth'] }
)
