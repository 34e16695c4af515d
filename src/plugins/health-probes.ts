import fp from 'fastify-plugin'
import type { Hub } from '../core/hub.ts'
import type { Store } from '../core/store.ts'

interface ProbeOptions {
  readonly hub: Hub
  readonly store: Store
  /** Probes also answer without it. */
  readonly basePath: string
}

/** `/healthz`: the process serves. `/readyz`: it should get traffic. Both with and without the base path. */
export default fp<ProbeOptions>(
  async (app, { hub, store, basePath }) => {
    for (const prefix of new Set(['', basePath])) {
      const hidden = prefix !== ''
      app.get(
        `${prefix}/healthz`,
        { schema: { tags: ['operations'], summary: 'Is the process alive', hide: hidden }, logLevel: 'warn' },
        async (_request, reply) => reply.header('cache-control', 'no-store').send({ status: 'ok' })
      )
      app.get(
        `${prefix}/readyz`,
        { schema: { tags: ['operations'], summary: 'Should the process get traffic', hide: hidden }, logLevel: 'warn' },
        async (_request, reply) => {
          reply.header('cache-control', 'no-store')
          if (hub.draining) return reply.code(503).send({ reason: 'draining' })
          const { healthy, reason } = store.status()
          if (!healthy) return reply.code(503).send({ reason: reason ?? 'store unavailable' })
          return reply.send({ status: 'ready' })
        }
      )
    }
  },
  { name: 'health-probes' }
)
