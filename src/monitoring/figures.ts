import { iso } from '../log/iso.ts'
import { counter, type Figure, gauge, histogram } from './figure.ts'
import { headOf, nodeOf, oldestOf, round, shardOf, sum, totalsOf } from './figure-shapes.ts'
import type { HealthStatus } from './health.ts'

const STATUSES = ['ok', 'degraded', 'critical'] as const satisfies HealthStatus[]

/** Everything this node measures, in the order of `/monitor`. The one place to add a figure. */
export const FIGURES: readonly Figure[] = [
  { path: 'service', show: () => 'bellwire' },
  { path: 'version', show: ({ version }) => version },
  {
    metric: gauge('bellwire_build_info', 'What runs here; always 1.', 'version', 'store'),
    read: ({ version, store }) => [[[version, store.kind], 1]]
  },
  { path: 'node', show: ({ hub }) => hub.node },
  { path: 'status', show: ({ health }) => health.status },
  {
    metric: gauge(
      'bellwire_health_status',
      'Status as /monitor shows it: 1 for the current one.',
      'status'
    ),
    read: ({ health }) => STATUSES.map((one) => [one, Number(one === health.status)])
  },
  {
    metric: gauge(
      'bellwire_draining',
      'Whether the process is shutting down and takes no new streams.'
    ),
    read: ({ hub }) => hub.draining
  },
  { path: 'uptimeSeconds', show: () => Math.floor(process.uptime()) },

  { path: 'connections.active', show: ({ summary }) => summary.active },
  {
    metric: gauge('bellwire_connections_limit', 'MAX_CONNECTIONS; no value if it is off.'),
    read: ({ limits }) => limits['maxConnections'] || undefined
  },
  { path: 'connections.peak', show: ({ stats }) => stats.connections.peak },
  {
    path: 'connections.opened',
    metric: counter('bellwire_connections_opened_total', 'Connections opened.'),
    read: ({ stats }) => stats.connections.opened.value
  },
  { path: 'connections.closed', show: ({ stats }) => stats.connections.closedBy.occurred },
  {
    metric: counter(
      'bellwire_connections_closed_total',
      'Connections closed, by reason.',
      'reason'
    ),
    read: ({ stats }) => stats.connections.closedBy.all
  },
  { path: 'connections.refused', show: ({ stats }) => stats.connections.refusedBy.occurred },
  {
    metric: counter(
      'bellwire_connections_refused_total',
      'Connections refused, by reason.',
      'reason'
    ),
    read: ({ stats }) => stats.connections.refusedBy.all
  },
  {
    path: 'connections.users',
    metric: gauge('bellwire_connected_users', 'Users with at least one connection.'),
    read: ({ summary }) => summary.users
  },
  { path: 'connections.byTransport', show: ({ summary }) => summary.byTransport },
  {
    metric: gauge('bellwire_connections', 'Open streams and waiting polls.', 'transport'),
    read: ({ summary }) => Object.entries(summary.byTransport)
  },
  {
    path: 'connections.stale',
    metric: gauge(
      'bellwire_stale_connections',
      'Connections whose peer has acknowledged nothing for three heartbeats.'
    ),
    read: ({ summary }) => summary.stale
  },
  {
    path: 'connections.slow',
    metric: gauge(
      'bellwire_slow_connections',
      'Connections of lagging clients, for which frames wait.'
    ),
    read: ({ summary }) => summary.slow
  },
  {
    path: 'connections.bufferedBytes',
    metric: gauge('bellwire_buffered_bytes', 'Bytes that wait for clients, over all connections.'),
    read: ({ summary }) => summary.bufferedBytes
  },

  { path: 'heartbeats.intervalMs', show: ({ hub }) => hub.heartbeatMs },
  { path: 'heartbeats.sent', show: ({ hub }) => hub.heartbeats.sent },
  { path: 'heartbeats.skipped', show: ({ hub }) => hub.heartbeats.skipped },
  {
    metric: counter(
      'bellwire_heartbeats_total',
      'Heartbeats: sent, or skipped because another frame was just written.',
      'outcome'
    ),
    read: ({ hub: { heartbeats } }) => [
      ['sent', heartbeats.sent],
      ['skipped', heartbeats.skipped]
    ]
  },
  { path: 'heartbeats.lagMs', show: ({ hub }) => round(hub.heartbeats.lagMs) },
  {
    metric: gauge(
      'bellwire_heartbeat_lag_seconds',
      'How late the last turn of the heartbeat wheel was.'
    ),
    read: ({ hub }) => hub.heartbeats.lagMs / 1000
  },

  { path: 'publish.accepted', show: ({ stats }) => stats.publishes.accepted.value },
  { path: 'publish.replayed', show: ({ stats }) => stats.publishes.replayed.value },
  { path: 'publish.rejected', show: ({ stats }) => stats.publishes.rejectedBy.total },
  {
    metric: counter(
      'bellwire_publishes_total',
      'Notifications that producers sent, by outcome.',
      'outcome'
    ),
    read: ({ stats: { publishes } }) => [
      ['accepted', publishes.accepted.value],
      ['replayed', publishes.replayed.value],
      ['rejected', publishes.rejectedBy.total]
    ]
  },
  { path: 'publish.rejectedBy', show: ({ stats }) => stats.publishes.rejectedBy.occurred },
  {
    metric: counter(
      'bellwire_publishes_rejected_total',
      'Rejected publishes, by problem.',
      'problem'
    ),
    read: ({ stats }) => stats.publishes.rejectedBy.all
  },
  { path: 'publish.perSecond', show: ({ stats }) => stats.acceptedPerSecond },

  {
    path: 'deliveries.frames',
    metric: counter('bellwire_frames_total', 'Frames written, over all connections.'),
    read: ({ stats }) => stats.frames.value
  },
  { path: 'deliveries.perSecond', show: ({ stats }) => stats.framesPerSecond },
  {
    path: 'deliveries.replayed',
    metric: counter('bellwire_replayed_frames_total', 'Frames written to replay missed events.'),
    read: ({ stats }) => stats.replayedFrames.value
  },
  {
    path: 'deliveries.resets',
    metric: counter('bellwire_resets_total', 'Connections whose cursor could not be resumed.'),
    read: ({ stats }) => stats.resets.value
  },

  {
    path: 'latencyMs.publishToWrite',
    metric: histogram(
      'bellwire_publish_to_write_seconds',
      'From the acceptance of a notification until it was handed to connections; one sample for those of the same millisecond.'
    ),
    latency: ({ publishToWrite }) => publishToWrite
  },
  {
    path: 'latencyMs.publishAck',
    metric: histogram(
      'bellwire_publish_ack_seconds',
      'From a publish request to its durability; once a request.'
    ),
    latency: ({ publishAck }) => publishAck
  },
  {
    path: 'latencyMs.commit',
    metric: histogram(
      'bellwire_commit_seconds',
      'Duration of a commit of the store, fsync included.'
    ),
    latency: ({ commit }) => commit
  },

  { path: 'errors.total', show: ({ stats }) => stats.errors.total },
  { path: 'errors.perMinute', show: ({ stats }) => stats.perMinute.errors },
  {
    path: 'errors.byCode',
    show: ({ stats }) =>
      Object.fromEntries(
        [...stats.errors.byCode].map(([code, { count, firstAt, lastAt, lastMessage }]) => [
          code,
          { count, firstAt: iso(firstAt), lastAt: iso(lastAt), lastMessage }
        ])
      )
  },
  {
    metric: counter('bellwire_errors_total', 'Errors in Bellwire, by code.', 'code'),
    read: ({ stats }) => stats.errors.counts.all
  },
  {
    path: 'errors.recent',
    show: ({ stats }) => stats.errors.recent.map((error) => ({ ...error, at: iso(error.at) }))
  },

  { path: 'store.kind', show: ({ store }) => store.kind },
  {
    path: 'store.healthy',
    metric: gauge('bellwire_store_healthy', 'Whether the store works.'),
    read: ({ storeStatus }) => storeStatus.healthy
  },
  { path: 'store.epoch', show: ({ store }) => store.logs[0].epoch },
  { path: 'store.head', show: ({ store }) => headOf(store.logs[0]) },
  { path: 'store.oldest', show: ({ store }) => oldestOf(store.logs[0]) },
  {
    metric: gauge(
      'bellwire_store_head',
      'Sequence number of the newest event, summed over the shards.'
    ),
    read: ({ store }) => sum(store.logs.map(({ head }) => head))
  },
  {
    metric: gauge(
      'bellwire_store_oldest',
      'Oldest sequence number that can be resumed, summed over the shards.'
    ),
    read: ({ store }) => sum(store.logs.map(({ oldest }) => oldest))
  },
  {
    path: 'store.shards',
    show: ({ store }) => (store.logs.length === 1 ? undefined : store.logs.map(shardOf))
  },
  {
    path: 'store.bytes',
    metric: gauge('bellwire_store_bytes', 'Size of the store in bytes; no value if it has none.'),
    read: ({ storeStatus }) => storeStatus.bytes
  },
  {
    path: 'store.commitMs',
    show: ({ storeStatus: { commitMs } }) => (commitMs === undefined ? undefined : round(commitMs))
  },

  { path: 'process.rssBytes', show: ({ memory }) => memory.rss },
  { path: 'process.heapBytes', show: ({ memory }) => memory.heapUsed },
  { path: 'process.cpu', show: ({ stats }) => stats.load.cpu },
  { path: 'process.eventLoopLagMs', show: ({ stats }) => stats.load.eventLoopLagMs },
  {
    path: 'process.openFiles',
    metric: gauge('process_open_fds', 'Number of open file descriptors.'),
    read: ({ host }) => host.openFiles
  },

  { path: 'limits', show: ({ limits }) => limits },
  { path: 'nodes', show: ({ nodes }) => nodes.map(nodeOf) },
  { path: 'cluster', show: ({ nodes }) => totalsOf(nodes) },
  {
    path: 'recommendations',
    show: ({ health }) => health.recommendations.map((one) => ({ ...one, since: iso(one.since) }))
  },
  {
    path: 'history',
    show: ({ stats }) => stats.history.points.map((point) => ({ ...point, at: iso(point.at) }))
  }
]
