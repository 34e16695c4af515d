import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import Negotiator from 'negotiator'
import { z } from 'zod'
import type { Cluster } from '../cluster/cluster.ts'
import { CONNECTION_SORTS } from '../cluster/node-query.ts'
import { sseCodec } from '../delivery/codec.ts'
import { iso } from '../log/iso.ts'
import { monitorBody } from '../monitoring/monitor-body.ts'
import { mergeRows } from '../monitoring/node-answers.ts'
import type { NodeState } from '../monitoring/node-monitor.ts'
import { ProblemError } from './schemas/problem.ts'
import { addVary } from './transports/common-headers.ts'
import { hasLeft } from './transports/report-error.ts'
import { SseSink, sendHeadOnly } from './transports/sse-sink.ts'

interface MonitorOptions {
  readonly cluster: Cluster
  /** Looks at every connection and at the operating system. */
  readonly freshState: () => Promise<NodeState>
}

const STATS_EVERY_MS = 1000
/** Pause before a browser reconnects to an operator's stream. */
const RETRY_MS = 2000
/** An operator's stream that holds more than this is cut: its client does not read. */
const MAX_UNREAD_BYTES = 1024 * 1024

const documented = { tags: ['operations'], security: [{ operator: [] }] }

/**
 * What operators ask: the state of this node, the connections of all nodes, and to close one.
 * Reading changes nothing, and no answer holds content of notifications.
 */
export default fp<MonitorOptions>(
  async (app, { cluster, freshState }) => {
    serveState(app, freshState)
    serveConnections(app, cluster)
    serveStream(app, freshState)
  },
  { name: 'monitor', dependencies: ['auth', 'dashboard'] }
)

/** Browsers get the dashboard. Programs, which accept anything, get JSON. */
const prefersPage = ({ raw }: FastifyRequest): boolean =>
  new Negotiator(raw).mediaTypes(['application/json', 'text/html'])[0] === 'text/html'

/** `GET /monitor`: the state, or for a browser the dashboard. */
function serveState(app: FastifyInstance, freshState: () => Promise<NodeState>): void {
  app.get(
    '/monitor',
    {
      onRequest: app.requireOperator,
      schema: {
        ...documented,
        operationId: 'getMonitor',
        summary: 'State of this node, and of the others in short'
      }
    },
    async (request, reply) => {
      addVary(reply, 'Accept')
      if (prefersPage(request)) return reply.sendDashboard()
      const body = monitorBody(await freshState())
      return reply.header('cache-control', 'no-store').send(body)
    }
  )
}

const ConnectionsQuery = z.object({
  user: z.string().optional(),
  sort: z
    .enum(CONNECTION_SORTS)
    .default('age')
    .describe('Order: oldest first, most buffered bytes first, or worst state first'),
  limit: z
    .string()
    .regex(/^[1-9]\d{0,5}$/, 'must be a whole number, 1 and up')
    .default('100')
    .transform(Number)
})

/** `GET /monitor/connections` lists connections, `DELETE /monitor/connections/{id}` closes one. */
function serveConnections(instance: FastifyInstance, cluster: Cluster): void {
  const app = instance.withTypeProvider<ZodTypeProvider>()
  app.get(
    '/monitor/connections',
    {
      onRequest: app.requireOperator,
      schema: {
        ...documented,
        operationId: 'listConnections',
        summary: 'Open connections of all nodes',
        description: 'Of another node at most 5000 rows; `total` counts all.',
        querystring: ConnectionsQuery
      }
    },
    async (request, reply) => {
      const { user, limit, sort } = request.query
      const lists = await cluster.ask({ kind: 'list-connections', user, sort, limit })
      const { rows, total } = mergeRows(lists, sort, limit)
      const now = Date.now()
      const connections = rows.map(({ id, user, transport, topics, openedAt, ...rest }) => ({
        id,
        user,
        transport,
        topics,
        openedAt: iso(openedAt),
        ageMs: Math.max(0, now - openedAt),
        ...rest
      }))
      return reply.header('cache-control', 'no-store').send({ connections, total })
    }
  )
  app.delete(
    '/monitor/connections/:id',
    {
      onRequest: app.requireOperator,
      schema: {
        ...documented,
        operationId: 'closeConnection',
        summary: 'Close a connection, on whichever node it is',
        params: z.object({ id: z.string() })
      }
    },
    async (request, reply) => {
      const closed = await cluster.ask({ kind: 'close-connection', id: request.params.id })
      if (!closed.includes(true))
        throw new ProblemError(
          'not-found',
          'No open connection has this id; see /monitor/connections.'
        )
      return reply.code(204).send()
    }
  )
}

/**
 * `GET /monitor/stream`: the state every second. These streams are few, are not counted among the
 * connections, and end with the process.
 */
function serveStream(app: FastifyInstance, freshState: () => Promise<NodeState>): void {
  const watchers = new Set<SseSink>()
  const frame = async (retryMs?: number): Promise<Buffer> =>
    sseCodec.frame('stats', JSON.stringify(monitorBody(await freshState())), null, retryMs)
  const timer = setInterval(async () => {
    if (watchers.size === 0) return
    const stats = await frame()
    for (const watcher of watchers) {
      if (watcher.bufferedBytes > MAX_UNREAD_BYTES) watcher.destroy()
      else watcher.write(stats)
    }
  }, STATS_EVERY_MS)
  timer.unref()
  app.addHook('preClose', async () => {
    clearInterval(timer)
    for (const watcher of watchers) watcher.end(null)
  })
  app.get(
    '/monitor/stream',
    {
      onRequest: app.requireOperator,
      schema: {
        ...documented,
        operationId: 'streamMonitor',
        summary: 'The state, every second, as server-sent events'
      }
    },
    async (request, reply) => {
      if (request.method === 'HEAD') return sendHeadOnly(reply)
      const first = await frame(RETRY_MS)
      if (hasLeft(request)) return reply.hijack()
      const sink = await SseSink.open(request, reply)
      watchers.add(sink)
      sink.connect({ drained: () => {}, close: () => watchers.delete(sink) })
      sink.write(first)
      return reply
    }
  )
}
