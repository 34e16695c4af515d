import { crc32 } from 'node:zlib'
import { type Channel, userOf } from '../../log/channel.ts'

/** Index of the shard of a user or of an idempotency key, the same in every process. */
export const shardOf = (name: string, shards: number): number => crc32(name) % shards

/**
 * The shards that hold channels, each with its own: a user's channel is in one, a shared one in
 * all.
 */
export function channelsByShard(
  channels: readonly Channel[],
  shards: number
): Map<number, Channel[]> {
  const found = new Map<number, Channel[]>()
  const put = (shard: number, channel: Channel): void => {
    const known = found.get(shard)
    if (known) known.push(channel)
    else found.set(shard, [channel])
  }
  for (const channel of channels) {
    const user = userOf(channel)
    if (user !== undefined) put(shardOf(user, shards), channel)
    else for (let shard = 0; shard < shards; shard++) put(shard, channel)
  }
  return found
}

/**
 * Merges lists into one, with each member once. A member comes before another if a list says so; if
 * two lists contradict each other, the earlier list counts.
 */
export function* interleaved(lists: readonly (readonly string[])[]): Generator<string> {
  const done = new Set<string>()
  const queues = lists.map((list) => ({ list, members: new Set(list), at: 0 }))
  const headOf = (queue: (typeof queues)[number]): string | undefined => {
    let head = queue.list[queue.at]
    while (head !== undefined && done.has(head)) head = queue.list[++queue.at]
    return head
  }
  for (;;) {
    const heads = queues.map(headOf).filter((head) => head !== undefined)
    const free = heads.find((head) =>
      queues.every((queue) => !queue.members.has(head) || headOf(queue) === head)
    )
    const next = free ?? heads[0]
    if (next === undefined) return
    done.add(next)
    yield next
  }
}
