import { totalmem } from 'node:os'
import { HISTORY_STEP_MS } from '../bounds/limits.ts'
import type { Cluster, NodeReport, NodeView } from '../cluster/cluster.ts'
import type { Config } from '../config/config.ts'
import { openFileLimit } from '../config/open-files.ts'
import type { Hub } from '../delivery/hub.ts'
import type { EventLog, Operator, StoreStatus } from '../log/store.ts'
import { type ConnectionSummary, summarize } from './connection-summary.ts'
import { type Assessment, Health } from './health.ts'
import { type FixedInputs, type HostFigures, healthInputs } from './health-inputs.ts'
import { Host } from './host.ts'
import type { Monitoring } from './monitoring.ts'
import type { Stats } from './stats.ts'

/** Settings that `/monitor` shows, in this order. */
const LIMITS = [
  'maxConnections',
  'maxConnectionsPerUser',
  'maxConnectionsPerIp',
  'maxBufferedBytes',
  'stallMs',
  'maxConnectionAgeMs',
  'rateLimit',
  'publishRate',
  'retentionDays',
  'retentionPerChannel'
] as const satisfies (keyof Config)[]

/** The settings that monitoring depends on. */
export type MonitorSettings = Pick<
  Config,
  'store' | 'dataDir' | 'keysInUse' | 'publicAddress' | 'trustProxy' | (typeof LIMITS)[number]
>

/** Everything there is to say about this node at one moment. */
export interface NodeState {
  readonly version: string
  readonly hub: Hub
  readonly store: Pick<EventLog, 'logs'> & Operator
  readonly storeStatus: StoreStatus
  readonly stats: Stats
  readonly summary: ConnectionSummary
  readonly health: Assessment
  readonly host: HostFigures
  readonly memory: NodeJS.MemoryUsage
  /** All nodes, this one first. */
  readonly nodes: readonly NodeView[]
  readonly limits: Readonly<Record<string, number>>
}

interface Parts {
  readonly version: string
  readonly hub: Hub
  readonly store: Pick<EventLog, 'logs'> & Operator
  readonly cluster: Cluster
  readonly monitoring: Pick<Monitoring, 'stats' | 'log' | 'signIns'>
}

/** Watches this node: figures every second, its health, and its reports to operators and nodes. */
export class NodeMonitor {
  readonly health = new Health()
  readonly #parts: Parts
  readonly #host: Host
  readonly #fixed: FixedInputs
  readonly #limits: Readonly<Record<string, number>>
  #hostSeenAt = 0

  constructor(parts: Parts, settings: MonitorSettings) {
    this.#parts = parts
    this.#host = new Host(settings.store === 'sqlite' ? settings.dataDir : undefined)
    this.#fixed = {
      developmentKeys: settings.keysInUse.development,
      ownKeys: settings.keysInUse.own,
      publicAddress: settings.publicAddress,
      maxConnections: settings.maxConnections,
      openFileLimit: openFileLimit(),
      memoryBytes: Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY),
      proxyTrusted: settings.trustProxy !== false
    }
    this.#limits = Object.fromEntries(LIMITS.map((name) => [name, settings[name]]))
    const { log } = parts.monitoring
    this.health.onStatus((previous) => log.status(previous, this.health.last))
  }

  /** Looks at the host, then starts the clock. Never rejects. */
  async start(): Promise<void> {
    await this.#lookAtHost()
    const { hub, monitoring } = this.#parts
    monitoring.stats.start({
      summarize: () => summarize(hub),
      everySecond: () => {
        if (performance.now() - this.#hostSeenAt >= HISTORY_STEP_MS) void this.#lookAtHost()
        this.assess()
        monitoring.log.flush()
      }
    })
  }

  /** Stops the clock and writes the lines that are left. */
  stop(): void {
    this.#parts.monitoring.stats.stop()
    this.#parts.monitoring.log.flush(true)
  }

  /** Evaluates the health rules now. */
  assess(): Assessment {
    const { hub, store, monitoring } = this.#parts
    const { stats, signIns } = monitoring
    const inputs = healthInputs(hub, store, stats, signIns.look(), this.#host, this.#fixed)
    return this.health.assess(inputs, performance.now())
  }

  /** Looks at the host, then collects the state. */
  async freshState(): Promise<NodeState> {
    await this.#lookAtHost()
    return this.state()
  }

  /** Walks over all connections. */
  state(): NodeState {
    const { version, hub, store, cluster, monitoring } = this.#parts
    return {
      version,
      hub,
      store,
      storeStatus: store.status(),
      stats: monitoring.stats,
      summary: summarize(hub),
      health: this.assess(),
      host: this.#host,
      memory: process.memoryUsage(),
      nodes: cluster.nodes(),
      limits: this.#limits
    }
  }

  /** What this node reports to the others. */
  report(): NodeReport {
    const { version, hub, monitoring } = this.#parts
    const { stats } = monitoring
    const { status, recommendations } = this.health.last
    const { stale, slow } = stats.summary
    return {
      version,
      status,
      recommendations: recommendations.map(({ code }) => code),
      draining: hub.draining,
      uptimeSeconds: Math.floor(process.uptime()),
      connections: hub.connections.size,
      users: hub.connections.users,
      stale,
      slow,
      publishedPerSecond: stats.acceptedPerSecond,
      framesPerSecond: stats.framesPerSecond,
      errorsPerMinute: stats.perMinute.errors,
      eventLoopLagMs: stats.load.eventLoopLagMs,
      rssBytes: process.memoryUsage.rss()
    }
  }

  #lookAtHost(): Promise<void> {
    this.#hostSeenAt = performance.now()
    return this.#host.look()
  }
}
