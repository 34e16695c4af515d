import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import Negotiator from 'negotiator'
import { z } from 'zod'
import { type Cluster, CONNECTION_SORTS, type NodeView } from '../cluster/cluster.ts'
import { mergeRows } from '../cluster/node-answers.ts'
import type { Hub } from '../delivery/hub.ts'
import type { Sink } from '../delivery/sink.ts'
import { formatCursor } from '../log/cursor.ts'
import { iso } from '../log/iso.ts'
import type { Log, Store } from '../log/store.ts'
import { takeCensus } from '../monitoring/connection-summary.ts'
import type { Stats } from '../monitoring/figures.ts'
import type { Assessment, HealthStatus } from '../monitoring/health.ts'
import type { HostFigures } from '../monitoring/health-inputs.ts'
import { operatorOnly } from './auth.ts'
import { ProblemError } from './schemas/problem.ts'
import { addVary } from './transports/common-headers.ts'
import { STREAM_HEADERS, sendHeadOnly } from './transports/sse-sink.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The state of this node, as `/monitor` tells it: what takes a look at every connection. */
    nodeState(): {
      readonly status: HealthStatus
      readonly connections: {
        readonly byTransport: Readonly<Record<Sink['transport'], number>>
        readonly stale: number
        readonly slow: number
        readonly bufferedBytes: number
      }
    }
  }
}

interface MonitorOptions {
  readonly hub: Hub
  readonly cluster: Cluster
  readonly store: Store
  readonly stats: Stats
  readonly version: string
  /** Name of the key that an Authorization header holds, or undefined. */
  readonly match: (authorization: string | undefined) => string | undefined
  readonly limits: Readonly<Record<string, number>>
  /** The rules of health, held against the figures of now. */
  readonly assess: () => Assessment
  readonly host: HostFigures & { look(): Promise<void> }
}

const STATS_EVERY_MS = 1000

/** The figures of all nodes together. */
function totalsOf(nodes: readonly NodeView[]) {
  const sum = (of: (report: NodeView['report']) => number): number =>
    Math.round(nodes.reduce((total, { report }) => total + of(report), 0) * 10) / 10
  return {
    nodes: nodes.length,
    connections: sum((report) => report.connections),
    stale: sum((report) => report.stale),
    slow: sum((report) => report.slow),
    publishedPerSecond: sum((report) => report.publishedPerSecond),
    framesPerSecond: sum((report) => report.framesPerSecond),
    errorsPerMinute: sum((report) => report.errorsPerMinute)
  }
}

/** Everything an operator may ask: of this node, of all, and of any connection. Reading changes nothing; no notification content. */
export default fp<MonitorOptions>(
  async (instance, options) => {
    const { hub, cluster, store, stats, version, limits, host } = options
    const app = instance.withTypeProvider<ZodTypeProvider>()

    const route = { onRequest: operatorOnly(options.match) }
    const doc = { tags: ['operations'], security: [{ operator: [] }] }

    function snapshot() {
      const { byTransport, stale, slow, bufferedBytes } = takeCensus(hub)
      const status = store.status()
      const health = options.assess()
      const memory = process.memoryUsage()
      const nodes = cluster.nodes()
      return {
        service: 'bellwire',
        version,
        node: hub.node,
        status: health.status satisfies HealthStatus,
        uptimeSeconds: Math.floor(process.uptime()),
        connections: {
          active: hub.connections.size,
          peak: stats.peak,
          opened: stats.openedTotal,
          closed: Object.fromEntries(stats.closedBy),
          refused: Object.fromEntries(stats.refusedBy),
          users: hub.connections.users,
          byTransport,
          stale,
          slow,
          bufferedBytes
        },
        heartbeats: {
          intervalMs: hub.heartbeatMs,
          sent: hub.heartbeats.sent,
          skipped: hub.heartbeats.skipped,
          lagMs: Math.round(hub.heartbeats.lagMs * 10) / 10
        },
        publish: {
          accepted: stats.accepted,
          replayed: stats.replayedPublishes,
          rejected: stats.rejected,
          rejectedBy: Object.fromEntries(stats.rejectedBy),
          perSecond: stats.acceptedPerSecond
        },
        deliveries: {
          frames: stats.frames,
          perSecond: stats.framesPerSecond,
          replayed: stats.replayed,
          resets: stats.resets
        },
        latencyMs: {
          publishToWrite: stats.publishToWrite.summary(),
          publishAck: stats.publishAck.summary(),
          commit: stats.commit.summary()
        },
        errors: {
          total: stats.errorsTotal,
          perMinute: stats.errorsPerMinute,
          byCode: Object.fromEntries(
            [...stats.errorCodes].map(([code, { count, firstAt, lastAt, lastMessage }]) => [
              code,
              { count, firstAt: iso(firstAt), lastAt: iso(lastAt), lastMessage }
            ])
          ),
          recent: stats.recent.map((error) => ({ ...error, at: iso(error.at) }))
        },
        store: {
          kind: store.kind,
          healthy: status.healthy,
          ...logOf(store.logs[0]),
          ...(store.logs.length === 1
            ? {}
            : { shards: store.logs.map((log) => ({ ...logOf(log), healthy: log.healthy })) }),
          ...(status.bytes === undefined ? {} : { bytes: status.bytes }),
          ...(status.commitMs === undefined
            ? {}
            : { commitMs: Math.round(status.commitMs * 10) / 10 })
        },
        process: {
          rssBytes: memory.rss,
          heapBytes: memory.heapUsed,
          cpu: stats.cpu,
          eventLoopLagMs: stats.eventLoopLagMs,
          ...(host.openFiles === undefined ? {} : { openFiles: host.openFiles })
        },
        limits,
        nodes: nodes.map(({ node, report: { status, connections, ...rest }, lastSeenAt }) => ({
          node,
          status,
          connections,
          lastSeenAt: iso(lastSeenAt),
          ...rest
        })),
        cluster: totalsOf(nodes),
        recommendations: health.recommendations.map((one) => ({ ...one, since: iso(one.since) })),
        history: stats.history.map((point) => ({ ...point, at: iso(point.at) }))
      }
    }

    app.decorate('nodeState', snapshot)

    app.get(
      '/monitor',
      {
        ...route,
        schema: {
          ...doc,
          operationId: 'getMonitor',
          summary: 'State of this node, and of the others in short'
        }
      },
      async (request, reply) => {
        addVary(reply, 'Accept')
        if (prefersPage(request)) return reply.sendDashboard()
        await host.look()
        return reply.header('cache-control', 'no-store').send(snapshot())
      }
    )

    app.get(
      '/monitor/connections',
      {
        ...route,
        schema: {
          ...doc,
          operationId: 'listConnections',
          summary: 'Open connections of all nodes',
          description: 'Of another node at most 5000 rows; `total` counts all.',
          querystring: z.object({
            user: z.string().optional(),
            sort: z
              .enum(CONNECTION_SORTS)
              .default('age')
              .describe(
                'What comes first: the oldest, what holds most bytes, or who is in trouble'
              ),
            limit: z
              .string()
              .regex(/^[1-9]\d{0,5}$/, 'must be a whole number, 1 and up')
              .default('100')
              .transform(Number)
          })
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
        ...route,
        schema: {
          ...doc,
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

    // Operators' streams are few and not counted; they end with the process.
    const watchers = new Set<import('node:http').ServerResponse>()
    const ticker = setInterval(async () => {
      if (watchers.size === 0) return
      await host.look()
      const frame = `event: stats\ndata: ${JSON.stringify(snapshot())}\n\n`
      for (const watcher of watchers) {
        if (watcher.writableLength > 1024 * 1024) watcher.destroy()
        else watcher.write(frame)
      }
    }, STATS_EVERY_MS)
    ticker.unref()
    app.get(
      '/monitor/stream',
      {
        ...route,
        schema: {
          ...doc,
          operationId: 'streamMonitor',
          summary: 'The state, every second, as server-sent events'
        }
      },
      async (request, reply) => {
        if (request.method === 'HEAD') return sendHeadOnly(reply)
        const headers = Object.entries(reply.getHeaders())
        reply.hijack()
        const { raw } = reply
        raw.on('error', () => raw.destroy())
        raw.once('close', () => watchers.delete(raw))
        for (const [name, value] of headers) if (value != null) raw.setHeader(name, value as string)
        raw.writeHead(200, STREAM_HEADERS)
        raw.write(`retry: 2000\nevent: stats\ndata: ${JSON.stringify(snapshot())}\n\n`)
        if (!raw.destroyed) watchers.add(raw)
        return reply
      }
    )
    app.addHook('preClose', async () => {
      clearInterval(ticker)
      for (const watcher of watchers) watcher.end()
    })
  },
  { name: 'monitor', dependencies: ['dashboard'] }
)

const logOf = ({ epoch, head, oldest }: Log) => ({
  epoch,
  head: formatCursor(epoch, head),
  oldest: formatCursor(epoch, oldest)
})

/** Browsers get the dashboard. Programs, which accept anything, get JSON. */
const prefersPage = ({ raw }: FastifyRequest): boolean =>
  new Negotiator(raw).mediaTypes(['application/json', 'text/html'])[0] === 'text/html'
