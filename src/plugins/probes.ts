import type { FastifyInstance } from 'fastify'
import type { Hub } from '../delivery/hub.ts'
import type { EventLog, Operator } from '../log/store.ts'

interface ProbeOptions {
  readonly hub: Hub
  readonly store: Pick<EventLog, 'logs'> & Pick<Operator, 'status'>
  /** Leaves the probes out of the documentation, for their second registration. */
  readonly hidden?: boolean
}

/** `/healthz`: whether the process works. `/readyz`: whether it should get traffic. */
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
      // A shard that is down is down for every node: no other node could serve its users, and this
      // one still serves all others.
      if (misconfigured || !store.logs.some(({ healthy }) => healthy))
        return reply.code(503).send({ reason })
      return reply.send({ status: 'ready' })
    }
  )
}

export default healthProbes
