import type { Channel } from '../../log/channel.ts'
import type { Publication } from '../../log/notification.ts'

/**
 * What one shard keeps of a publication: the channels that it holds. Without channels, and
 * ephemeral, only the idempotency key.
 */
export interface ShardPublication {
  readonly item: Publication
  readonly channels: readonly Channel[]
}
