import type { Cluster } from './cluster.ts'
import { SingleNode } from './single-node.ts'

/** What a node's cluster needs to know; see the settings of the same names. */
export interface ClusterOptions {
  readonly store: 'sqlite' | 'memory' | 'redis'
  readonly redisUrl?: string | undefined
  readonly redisPrefix: string
  readonly maxConnectionsPerUser: number
  /** Hears why the other nodes cannot be reached. */
  readonly onTrouble: (message: string) => void
}

/** The nodes that share the store that was asked for. Nothing has to be there yet. */
export async function openCluster(node: string, options: ClusterOptions): Promise<Cluster> {
  const { redisUrl } = options
  if (options.store !== 'redis' || redisUrl === undefined)
    return new SingleNode(node, options.maxConnectionsPerUser)
  const { RedisCluster } = await import('./redis/redis-cluster.ts')
  return RedisCluster.open(node, { ...options, redisUrl })
}
