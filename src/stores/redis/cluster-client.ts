import type { Cluster, ClusterOptions, Redis } from 'ioredis'
import { REDIS_COMMAND_TIMEOUT_MS, REDIS_REFRESH_MS } from '../../bounds/limits.ts'
import type { HostPort } from './redis-url.ts'

/** What a connection to a Cluster needs besides the options of its connections to servers. */
export interface ClusterSetup {
  readonly redisOptions: Omit<NonNullable<ClusterOptions['redisOptions']>, 'replyMapping'>
  /** Whether the connection subscribes to channels. */
  readonly subscribes: boolean
  readonly tls: boolean
  readonly reconnectDelay: (attempts: number) => number
}

/**
 * Connects to a Cluster. `Class` is the one of ioredis, which is loaded only if Redis is used.
 * `onError` receives every error of the connection.
 */
export function makeCluster(
  Class: typeof Cluster,
  nodes: readonly HostPort[],
  onError: (error: Error) => void,
  { redisOptions, subscribes, tls, reconnectDelay }: ClusterSetup
): Cluster {
  const cluster = new Class([...nodes], {
    // A certificate names hosts: TLS must see the name as it is, not the address that it resolves
    // to.
    ...(tls ? { dnsLookup: (name, done) => done(null, name) } : {}),
    redisOptions,
    enableOfflineQueue: false,
    clusterRetryStrategy: reconnectDelay,
    // Each attempt is short, and all together stay within the time of one command.
    maxRedirections: 8,
    slotsRefreshTimeout: REDIS_COMMAND_TIMEOUT_MS,
    shardedSubscribers: subscribes
  })
  limitRefreshes(cluster)
  reportCauses(cluster, onError)
  return cluster
}

/**
 * Limits how often a Cluster asks where its slots are. While a master is down, the sharded
 * subscriber of ioredis 6.0.0 calls it, fails and asks again without a pause, which takes a whole
 * core. Here it asks at most every {@link REDIS_REFRESH_MS}.
 */
function limitRefreshes(cluster: Cluster): void {
  const refresh = cluster.refreshSlotsCache.bind(cluster)
  let askedAt = Number.NEGATIVE_INFINITY
  let waiting: Parameters<typeof refresh>[0][] | undefined
  cluster.refreshSlotsCache = (callback) => {
    if (waiting) {
      waiting.push(callback)
      return
    }
    waiting = [callback]
    const ask = (): void => {
      const callbacks = waiting ?? []
      waiting = undefined
      askedAt = performance.now()
      for (const one of callbacks) refresh(one)
    }
    const pause = askedAt + REDIS_REFRESH_MS - performance.now()
    if (pause <= 0) ask()
    else setTimeout(ask, pause).unref()
  }
}

/**
 * Reports the errors of a Cluster with their cause. ioredis says that no node returned its slots
 * and never why: it asks over a connection of its own, whose errors it drops.
 */
function reportCauses(cluster: Cluster, onError: (error: Error) => void): void {
  let cause: Error | undefined
  cluster.on('+node', (node: Redis) => {
    const duplicate = node.duplicate.bind(node)
    node.duplicate = (...override) =>
      duplicate(...override).on('error', (error: Error) => (cause = error))
  })
  cluster.on('error', (error: Error & { lastNodeError?: Error | null }) => {
    const { lastNodeError } = error
    const reason = cause ?? lastNodeError
    cause = undefined
    onError(lastNodeError && reason ? new Error(`${error.message} ${reason.message}`) : error)
  })
}
