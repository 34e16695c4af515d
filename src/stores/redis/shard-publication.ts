import type { Channel } from '../../log/channel.ts'
import type { Publication } from '../../log/notification.ts'

/**
 * What one shard keeps of a publication: the channels that lie in it. Without any, and ephemeral,
 * its idempotency key alone.
 */
export interface ShardPublication {
  readonly item: Publication
  readonly channels: readonly Channel[]
}
