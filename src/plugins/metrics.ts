import { readdir } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { CLOSE_REASONS } from '../delivery/close-reason.ts'
import type { Hub } from '../delivery/hub.ts'
import type { Store } from '../log/store.ts'
import type { Latency, Stats } from '../monitoring/figures.ts'
import type { HealthStatus } from '../monitoring/health.ts'
import { operatorOnly } from './auth.ts'
import { PROBLEMS } from './schemas/problem.ts'

interface MetricsOptions {
  readonly hub: Hub
  readonly store: Store
  readonly stats: Stats
  readonly version: string
  /** Name of the key that an Authorization header holds, or undefined. */
  readonly match: (authorization: string | undefined) => string | undefined
  /** 0: no limit. */
  readonly maxConnections: number
}

/** Seconds. A delivery on a quiet machine takes one millisecond, one that a person notices a second. */
const LATENCY_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/**
 * Of the metrics that every Node process has, those that go through all handles on the event loop: with a hundred thousand streams a scrape
 * would stall them all. Open files are counted below, off the loop.
 */
const TOO_DEAR = [
  'nodejs_active_handles',
  'nodejs_active_handles_total',
  'nodejs_active_requests',
  'nodejs_active_requests_total',
  'nodejs_active_resources',
  'nodejs_active_resources_total',
  'process_open_fds'
]

/** Values of labels that are known before they happen start at 0: `increase()` does not see a series that begins at 1. */
const PUBLISH_PROBLEMS = Object.keys(PROBLEMS)
const REFUSALS = ['drain', 'limit', 'unavailable']
const STATUSES = ['ok', 'degraded', 'critical'] as const satisfies HealthStatus[]
const ERROR_CODES = [
  'stream',
  'alert',
  'socket-table',
  'slow-answer',
  ...Object.entries(PROBLEMS)
    .filter(([, { status }]) => status >= 500)
    .map(([slug]) => slug)
]

type Rows = Iterable<readonly [label: string, value: number]>

/**
 * `GET /metrics` for Prometheus. Gauges and counters are read from what the parts count anyway, at the time of a scrape, so that they cost
 * nothing between; only the histograms are fed, once an event or commit. Every label has a fixed set of values: no user, topic or address.
 */
export default fp<MetricsOptions>(
  async (app: FastifyInstance, { hub, store, stats, version, match, maxConnections }) => {
    const registry = new Registry()
    collectDefaultMetrics({ register: registry })
    for (const name of TOO_DEAR) registry.removeSingleMetric(name)
    const registers = [registry]

    /** Undefined where there is nothing to tell: then there is no sample, only the name. */
    function gauge(name: string, help: string, read: () => number | undefined): void {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          const value = read()
          if (value === undefined) this.remove()
          else this.set(value)
        }
      })
    }

    function gaugeBy(label: string, name: string, help: string, read: () => Rows): void {
      new Gauge({
        name,
        help,
        registers,
        labelNames: [label],
        collect() {
          this.reset()
          for (const [value, n] of read()) this.set({ [label]: value }, n)
        }
      })
    }

    function counter(name: string, help: string, read: () => number): void {
      new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset()
          this.inc(read())
        }
      })
    }

    function counterBy(label: string, name: string, help: string, read: () => Rows): void {
      new Counter({
        name,
        help,
        registers,
        labelNames: [label],
        collect() {
          this.reset()
          for (const [value, n] of read()) this.inc({ [label]: value }, n)
        }
      })
    }

    function histogram(name: string, help: string, latency: Latency): void {
      const seconds = new Histogram({ name, help, registers, buckets: LATENCY_BUCKETS })
      latency.observe = (ms) => seconds.observe(ms / 1000)
    }

    // What is looked at once a scrape: it goes through all connections, or asks the system.
    let node = app.nodeState()
    let openFiles: number | undefined

    new Gauge({
      name: 'bellwire_build_info',
      help: 'What runs here; always 1.',
      registers,
      labelNames: ['version', 'store']
    }).set({ version, store: store.kind }, 1)
    gaugeBy(
      'status',
      'bellwire_health_status',
      'Status as /monitor tells it: 1 for the one that holds.',
      () => STATUSES.map((one) => [one, Number(one === node.status)])
    )
    gauge(
      'bellwire_draining',
      'Whether the process is shutting down and takes no new streams.',
      () => Number(hub.draining)
    )

    gaugeBy('transport', 'bellwire_connections', 'Open streams and waiting polls.', () =>
      Object.entries(node.connections.byTransport)
    )
    gauge(
      'bellwire_connections_limit',
      'MAX_CONNECTIONS; no value where it is off.',
      () => maxConnections || undefined
    )
    gauge(
      'bellwire_connected_users',
      'Users with at least one connection.',
      () => hub.connections.users
    )
    gauge(
      'bellwire_stale_connections',
      'Connections whose peer has acknowledged nothing for three heartbeats.',
      () => node.connections.stale
    )
    gauge(
      'bellwire_slow_connections',
      'Connections that wait for their reader.',
      () => node.connections.slow
    )
    gauge(
      'bellwire_buffered_bytes',
      'Bytes that wait for readers, over all connections.',
      () => node.connections.bufferedBytes
    )
    counter('bellwire_connections_opened_total', 'Connections opened.', () => stats.openedTotal)
    counterBy('reason', 'bellwire_connections_closed_total', 'Connections closed, by reason.', () =>
      counted(Object.keys(CLOSE_REASONS), stats.closedBy)
    )
    counterBy(
      'reason',
      'bellwire_connections_refused_total',
      'Connections refused, by reason.',
      () => counted(REFUSALS, stats.refusedBy)
    )

    counterBy(
      'outcome',
      'bellwire_publishes_total',
      'Notifications that producers asked for, by outcome.',
      () => [
        ['accepted', stats.accepted],
        ['replayed', stats.replayedPublishes],
        ['rejected', stats.rejected]
      ]
    )
    counterBy(
      'problem',
      'bellwire_publishes_rejected_total',
      'Publishes that were refused, by problem.',
      () => counted(PUBLISH_PROBLEMS, stats.rejectedBy)
    )
    counter('bellwire_frames_total', 'Frames written, over all connections.', () => stats.frames)
    counter(
      'bellwire_replayed_frames_total',
      'Frames written to catch up a connection that came back.',
      () => stats.replayed
    )
    counter(
      'bellwire_resets_total',
      'Connections that came back to a cursor that cannot be resumed.',
      () => stats.resets
    )
    histogram(
      'bellwire_publish_to_write_seconds',
      'From the acceptance of an event until it was written to its readers; once an event that had any.',
      stats.publishToWrite
    )
    histogram(
      'bellwire_publish_ack_seconds',
      'From a publish request until it is durable and can be acknowledged; once a request.',
      stats.publishAck
    )

    counterBy(
      'outcome',
      'bellwire_heartbeats_total',
      'Heartbeats: sent, or skipped since something else was just written.',
      () => [
        ['sent', hub.heartbeats.sent],
        ['skipped', hub.heartbeats.skipped]
      ]
    )
    gauge(
      'bellwire_heartbeat_lag_seconds',
      'How late the last turn of the heartbeat wheel was.',
      () => hub.heartbeats.lagMs / 1000
    )
    counterBy('code', 'bellwire_errors_total', 'Errors that are ours, by code.', () =>
      counted(
        ERROR_CODES,
        [...stats.errorCodes].map(([code, { count }]) => [code, count] as const)
      )
    )

    gauge('bellwire_store_healthy', 'Whether the store works.', () =>
      Number(store.status().healthy)
    )
    gauge('bellwire_store_head', 'Place of the newest event; the sum over the shards.', () =>
      sum(store.logs.map(({ head }) => head))
    )
    gauge(
      'bellwire_store_oldest',
      'Oldest place that can still be resumed; the sum over the shards.',
      () => sum(store.logs.map(({ oldest }) => oldest))
    )
    gauge(
      'bellwire_store_bytes',
      'Size of the store; no value where it has none.',
      () => store.status().bytes
    )
    histogram(
      'bellwire_commit_seconds',
      'Time of a commit of the store, fsync included.',
      stats.commit
    )

    // Linux only; elsewhere there is no value.
    gauge('process_open_fds', 'Number of open file descriptors.', () => openFiles)

    app.get(
      '/metrics',
      {
        onRequest: operatorOnly(match),
        schema: {
          tags: ['operations'],
          security: [{ operator: [] }],
          operationId: 'getMetrics',
          summary: 'Metrics for Prometheus'
        }
      },
      async (_request, reply) => {
        node = app.nodeState()
        openFiles = await readdir('/proc/self/fd').then(
          (files) => files.length,
          () => undefined
        )
        return reply
          .header('cache-control', 'no-store')
          .type(registry.contentType)
          .send(await registry.metrics())
      }
    )
  },
  { name: 'metrics', dependencies: ['monitor'] }
)

/** What was counted, and 0 for what is known and has not happened yet. */
function counted(known: readonly string[], counts: Rows): Rows {
  return new Map([...known.map((name) => [name, 0] as const), ...counts])
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
