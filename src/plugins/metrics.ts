import fp from 'fastify-plugin'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Metric, MetricValue } from '../monitoring/figure.ts'
import { FIGURES } from '../monitoring/figures.ts'
import type { NodeState } from '../monitoring/node-monitor.ts'
import type { Stats } from '../monitoring/stats.ts'

interface MetricsOptions {
  readonly stats: Stats
  /** Looks at every connection and at the operating system, once a scrape. */
  readonly freshState: () => Promise<NodeState>
}

/** Seconds. A delivery on a quiet machine takes a millisecond; a person notices a second. */
const LATENCY_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/**
 * Default metrics of prom-client that walk over all handles on the event loop: with a hundred
 * thousand streams a scrape would stall them all. Open files are counted off the loop instead.
 */
const TOO_EXPENSIVE = [
  'nodejs_active_handles',
  'nodejs_active_handles_total',
  'nodejs_active_requests',
  'nodejs_active_requests_total',
  'nodejs_active_resources',
  'nodejs_active_resources_total',
  'process_open_fds'
]

/** Gauges and counters are written to this when they are scraped, so they cost nothing between. */
type Written = readonly [metric: Gauge | Counter, read: (state: NodeState) => MetricValue]

/** Creates the metrics of the table in `registry`. */
function register(registry: Registry, stats: Stats): Written[] {
  const written: Written[] = []
  const options = ({ name, help, labels = [] }: Metric) => ({
    name,
    help,
    labelNames: labels,
    registers: [registry]
  })
  for (const figure of FIGURES) {
    if (figure.metric === undefined) continue
    if ('latency' in figure) {
      const seconds = new Histogram({ ...options(figure.metric), buckets: LATENCY_BUCKETS })
      figure.latency(stats).onRecord((ms) => seconds.observe(ms / 1000))
    } else {
      const Kind = figure.metric.type === 'gauge' ? Gauge : Counter
      written.push([new Kind(options(figure.metric)), figure.read])
    }
  }
  return written
}

function write(metric: Gauge | Counter, value: MetricValue): void {
  metric.reset()
  if (value === undefined) metric.remove()
  else if (typeof value === 'object')
    for (const [labels, n] of value) metric.labels(...[labels].flat()).inc(n)
  else metric.inc(Number(value))
}

/** `GET /metrics`, for Prometheus. */
export default fp<MetricsOptions>(
  async (app, { stats, freshState }) => {
    const registry = new Registry()
    collectDefaultMetrics({ register: registry })
    for (const name of TOO_EXPENSIVE) registry.removeSingleMetric(name)
    const written = register(registry, stats)
    app.get(
      '/metrics',
      {
        onRequest: app.requireOperator,
        schema: {
          tags: ['operations'],
          security: [{ operator: [] }],
          operationId: 'getMetrics',
          summary: 'Metrics for Prometheus'
        }
      },
      async (_request, reply) => {
        const state = await freshState()
        for (const [metric, read] of written) write(metric, read(state))
        return reply
          .header('cache-control', 'no-store')
          .type(registry.contentType)
          .send(await registry.metrics())
      }
    )
  },
  { name: 'metrics', dependencies: ['auth'] }
)
