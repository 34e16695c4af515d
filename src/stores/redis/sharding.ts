import { crc32 } from 'node:zlib'
import { type Channel, userOf } from '../../log/channel.ts'

/** The shard of a user, or of an idempotency key. Any process must find the same. */
export const shardOf = (name: string, shards: number): number => crc32(name) % shards

/**
 * The shards in which a publication's channels lie, each with its own: a user's channel in the
 * user's, a shared one in all.
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
 * One list of what stands in several, each member once, in an order in which it comes before
 * another wherever a list says so. Where two lists contradict each other the earlier list is right.
 */
export function* interleaved(lists: readonly (readonly string[])[]): Generator<string> {
  const at = lists.map(() => 0)
  const members = lists.map((list) => new Set(list))
  const done = new Set<string>()
  const head = (k: number): string | undefined => {
    const list = lists[k]!
    while (at[k]! < list.length && done.has(list[at[k]!]!)) at[k]!++
    return list[at[k]!]
  }
  for (;;) {
    let next: string | undefined
    let free = false
    for (let k = 0; k < lists.length && !free; k++) {
      const own = head(k)
      if (own === undefined) continue
      free = members.every((member, j) => !member.has(own) || head(j) === own)
      if (free) next = own
      else next ??= own
    }
    if (next === undefined) return
    done.add(next)
    yield next
  }
}
