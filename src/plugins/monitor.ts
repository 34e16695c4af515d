import { readdir } from 'node:fs/promises'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { Connection } from '../core/connection.ts'
import { formatCursor } from '../core/cursor.ts'
import { assess, type HealthStatus } from '../core/health.ts'
import type { Hub } from '../core/hub.ts'
import type { Stats } from '../core/stats.ts'
import type { Store } from '../core/store.ts'
import { ProblemError } from '../errors.ts'

interface MonitorOptions {
  readonly hub: Hub
  readonly store: Store
  readonly stats: Stats
  readonly version: string
  /** Name of the key that an Authorization header holds, or undefined. */
  readonly match: (authorization: string | undefined) => string | undefined
  readonly limits: Readonly<Record<string, number>>
  readonly developmentCredentials: boolean
  readonly publicAddress: boolean
}

const STATS_EVERY_MS = 1000
const iso = (instant: number): string => new Date(instant).toISOString()

/** Everything an operator may ask of one node. Reading changes nothing; no notification content. */
export default fp<MonitorOptions>(
  async (instance, options) => {
    const { hub, store, stats, version, limits } = options
    const app = instance.withTypeProvider<ZodTypeProvider>()
    let openFiles: number | undefined

    const operatorOnly = async (request: FastifyRequest): Promise<void> => {
      if (options.match(request.headers.authorization) === undefined) {
        throw new ProblemError(
          'unauthenticated',
          'Send an operator key: Authorization: Bearer <key>, or Basic with the key as password.'
        )
      }
    }
    const route = { onRequest: operatorOnly }
    const doc = { tags: ['operations'], security: [{ operator: [] }] }
    app.addHook('onSend', async (request, reply) => {
      if (reply.statusCode === 401 && request.routeOptions.url?.includes('/monitor'))
        reply.header('www-authenticate', 'Basic realm="Bellwire monitor", Bearer')
    })

    function stateOf(connection: Connection): string {
      return connection.stale ? 'stale' : connection.phase
    }

    function snapshot() {
      const byTransport = { sse: 0, websocket: 0, poll: 0 }
      let stale = 0
      let slow = 0
      let bufferedBytes = 0
      for (const connection of hub.connections()) {
        byTransport[connection.transport]++
        if (connection.stale) stale++
        if (connection.phase === 'blocked') slow++
        bufferedBytes += connection.bufferedBytes
      }
      const status = store.status()
      const health = assess({
        storeHealthy: status.healthy,
        storeReason: status.reason,
        draining: hub.draining,
        developmentCredentials: options.developmentCredentials,
        publicAddress: options.publicAddress,
        active: hub.size,
        maxConnections: limits['maxConnections'] ?? 0,
        stale,
        slow,
        errorsPerMinute: stats.errorsPerMinute,
        eventLoopLagMs: stats.eventLoopLagMs,
        heartbeatLagMs: hub.heartbeats.lagMs
      })
      const memory = process.memoryUsage()
      return {
        service: 'bellwire',
        version,
        node: hub.node,
        status: health.status satisfies HealthStatus,
        uptimeSeconds: Math.floor(process.uptime()),
        connections: {
          active: hub.size,
          peak: stats.peak,
          opened: stats.openedTotal,
          closed: Object.fromEntries(stats.closedBy),
          refused: Object.fromEntries(stats.refusedBy),
          users: hub.users,
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
          perSecond: stats.acceptedPerSecond
        },
        deliveries: { frames: stats.frames, perSecond: stats.framesPerSecond, replayed: stats.replayed, resets: stats.resets },
        latencyMs: { publishToWrite: stats.publishToWrite.summary(), publishAck: stats.publishAck.summary() },
        errors: {
          total: stats.errorsTotal,
          perMinute: stats.errorsPerMinute,
          byCode: Object.fromEntries(
            [...stats.errorCodes].map(([code, { count, lastAt, lastMessage }]) => [
              code,
              { count, lastAt: iso(lastAt), lastMessage }
            ])
          ),
          recent: stats.recent.map((error) => ({ ...error, at: iso(error.at) }))
        },
        store: {
          kind: store.kind,
          healthy: status.healthy,
          epoch: store.epoch,
          head: formatCursor(store.epoch, store.head),
          oldest: formatCursor(store.epoch, status.oldest),
          ...(status.bytes === undefined ? {} : { bytes: status.bytes })
        },
        process: {
          rssBytes: memory.rss,
          heapBytes: memory.heapUsed,
          cpu: stats.cpu,
          eventLoopLagMs: stats.eventLoopLagMs,
          ...(openFiles === undefined ? {} : { openFiles })
        },
        limits,
        nodes: [{ node: hub.node, status: health.status, connections: hub.size, lastSeenAt: iso(Date.now()) }],
        recommendations: health.recommendations,
        history: stats.history.map((point) => ({ ...point, at: iso(point.at) }))
      }
    }

    async function countFiles(): Promise<void> {
      // Linux only; elsewhere the figure is left out.
      openFiles = await readdir('/proc/self/fd').then(
        (files) => files.length,
        () => undefined
      )
    }

    app.get('/monitor', { ...route, schema: { ...doc, summary: 'State of this node' } }, async (_request, reply) => {
      await countFiles()
      return reply.header('cache-control', 'no-store').send(snapshot())
    })

    app.get(
      '/monitor/connections',
      {
        ...route,
        schema: {
          ...doc,
          summary: 'Open connections',
          querystring: z.object({
            user: z.string().optional(),
            limit: z
              .string()
              .regex(/^[1-9]\d{0,5}$/, 'must be a whole number, 1 and up')
              .default('100')
              .transform(Number)
          })
        }
      },
      async (request, reply) => {
        const { user, limit } = request.query
        const now = performance.now()
        const rows: unknown[] = []
        let total = 0
        for (const connection of hub.connections()) {
          if (user !== undefined && connection.user !== user) continue
          total++
          if (rows.length >= limit) continue
          const ageMs = Math.round(now - connection.openedAt)
          rows.push({
            id: hub.nameOf(connection),
            user: connection.user,
            transport: connection.transport,
            topics: connection.topics,
            openedAt: iso(Date.now() - ageMs),
            ageMs,
            cursor: connection.cursor,
            bufferedBytes: connection.bufferedBytes,
            frames: connection.frames,
            remoteAddress: connection.remoteAddress,
            state: stateOf(connection)
          })
        }
        return reply.header('cache-control', 'no-store').send({ connections: rows, total })
      }
    )

    app.delete(
      '/monitor/connections/:id',
      { ...route, schema: { ...doc, summary: 'Close a connection', params: z.object({ id: z.string() }) } },
      async (request, reply) => {
        const connection = hub.named(request.params.id)
        if (!connection) throw new ProblemError('not-found', 'No open connection has this id; see /monitor/connections.')
        connection.close('closed')
        return reply.code(204).send()
      }
    )

    // Operators' streams are few and not counted; they end with the process.
    const watchers = new Set<import('node:http').ServerResponse>()
    const ticker = setInterval(async () => {
      if (watchers.size === 0) return
      await countFiles()
      const frame = `event: stats\ndata: ${JSON.stringify(snapshot())}\n\n`
      for (const watcher of watchers) {
        if (watcher.writableLength > 1024 * 1024) watcher.destroy()
        else watcher.write(frame)
      }
    }, STATS_EVERY_MS)
    ticker.unref()
    app.get(
      '/monitor/stream',
      { ...route, exposeHeadRoute: false, schema: { ...doc, summary: 'The state, every second, as server-sent events' } },
      async (_request, reply) => {
        const headers = Object.entries(reply.getHeaders())
        reply.hijack()
        const { raw } = reply
        raw.on('error', () => raw.destroy())
        raw.once('close', () => watchers.delete(raw))
        for (const [name, value] of headers) if (value != null) raw.setHeader(name, value as string)
        raw.writeHead(200, {
          'content-type': 'text/event-stream; charset=utf-8',
          'cache-control': 'no-store, no-transform',
          'x-accel-buffering': 'no'
        })
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
  { name: 'monitor' }
)
