import type { StoreOptions } from '../stores/store-options.ts'
import type { Cluster } from './cluster.ts'
import type { RedisClusterOptions } from './redis/redis-cluster.ts'
import { SingleNode } from './single-node.ts'

/** What a node needs to know to find the others; see the settings of the same names. */
export type ClusterOptions = Omit<RedisClusterOptions, 'redisUrl'> &
  Pick<StoreOptions, 'store' | 'redisUrl'>

/** The nodes that share a store. Redis need not be there yet. */
export async function openCluster(node: string, options: ClusterOptions): Promise<Cluster> {
  const { redisUrl } = options
  if (options.store !== 'redis' || redisUrl === undefined)
    return new SingleNode(node, options.maxConnectionsPerUser)
  const { RedisCluster } = await import('./redis/redis-cluster.ts')
  return RedisCluster.open(node, { ...options, redisUrl })
}
