import type { FastifyInstance } from 'fastify'
import type { Hub } from '../delivery/hub.ts'
import type { EventLog, Operator } from '../log/store.ts'

interface ProbeOptions {
  readonly hub: Hub
  readonly store: Pick<EventLog, 'logs'> & Pick<Operator, 'status'>
  /** Leaves them out of the documentation, where they are registered a second time. */
  readonly hidden?: boolean
}

/** `/healthz`: the process serves. `/readyz`: it should get traffic. */
async function healthProbes(
  app: FastifyInstance,
  { hub, store, hidden = false }: ProbeOptions
): Promise<void> {
  const route = (operationId: string, summary: string) => ({
    schema: { tags: ['operations'], security: [], operationId, summary, hide: hidden }
  })
  app.get('/healthz', route('getHealth', 'Is the process alive'), async (_request, reply) => {
    reply.header('cache-control', 'no-store')
    const { lost = false, reason } = store.status()
    return lost ? reply.code(503).send({ reason }) : reply.send({ status: 'ok' })
  })
  app.get(
    '/readyz',
    route('getReadiness', 'Should the process get traffic'),
    async (_request, reply) => {
      reply.header('cache-control', 'no-store')
      if (hub.draining) return reply.code(503).send({ reason: 'draining' })
      const { misconfigured = false, reason = 'store unavailable' } = store.status()
      // One shard that is away is away for every node: none serves its users better, and all go on serving the others.
      if (misconfigured || !store.logs.some(({ healthy }) => healthy))
        return reply.code(503).send({ reason })
      return reply.send({ status: 'ready' })
    }
  )
}

export default healthProbes
