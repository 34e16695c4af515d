import { channelsOf } from '../../log/channel.ts'
import type { Publication } from '../../log/notification.ts'
import type { PublishOutcome } from '../../log/store.ts'
import { rejectIfAllFailed } from '../join-outcomes.ts'
import type { RedisShard } from './redis-shard.ts'
import type { ShardPublication } from './shard-publication.ts'
import { channelsByShard, shardOf } from './sharding.ts'

type Plan = ReturnType<typeof channelsByShard>

/** Appends publications to several shards, with one outcome each; see {@link EventLog.publish}. */
export async function publishToShards(
  shards: readonly RedisShard[],
  items: readonly Publication[]
): Promise<readonly PublishOutcome[]> {
  const planned = items.map((item) => ({
    item,
    plan: channelsByShard(channelsOf(item.to), shards.length)
  }))
  const claims = await claimKeys(shards, planned)
  const parts = new Parts(shards)
  for (const [index, { item, plan }] of planned.entries()) {
    const claim = claims.get(index)
    if (claim !== undefined && !('id' in claim)) continue
    const own = claim === undefined ? item : claimed(item, claim)
    for (const [shard, channels] of plan) parts.add(shard, index, { item: own, channels })
  }
  const outcomes = await parts.publish()
  return rejectIfAllFailed(
    items.map((_, index) => outcomeOf(claims.get(index), outcomes.get(index) ?? []))
  )
}

/**
 * Takes the idempotency keys of publications that go to other shards than that of their key: there
 * appending does not take it. Returns the outcome of each by its index: accepted now or before,
 * with this id, or not.
 */
async function claimKeys(
  shards: readonly RedisShard[],
  planned: readonly { readonly item: Publication; readonly plan: Plan }[]
): Promise<ReadonlyMap<number, PublishOutcome>> {
  const parts = new Parts(shards)
  for (const [index, { item, plan }] of planned.entries()) {
    if (item.idempotency === undefined) continue
    const home = shardOf(item.idempotency.key, shards.length)
    if (plan.size === 1 && plan.has(home)) continue
    parts.add(home, index, { item: { ...item, ephemeral: true }, channels: [] })
  }
  const claims = new Map<number, PublishOutcome>()
  for (const [index, outcomes] of await parts.publish())
    for (const outcome of outcomes) claims.set(index, outcome)
  return claims
}

/**
 * What one call sends to each shard, in the order of its items, and the outcomes of each item
 * there.
 */
class Parts {
  readonly #shards: readonly RedisShard[]
  readonly #parts = new Map<RedisShard, { index: number; publication: ShardPublication }[]>()

  constructor(shards: readonly RedisShard[]) {
    this.#shards = shards
  }

  add(shard: number, index: number, publication: ShardPublication): void {
    const target = this.#shards[shard]
    if (target === undefined) throw new RangeError(`no shard ${shard}`)
    const part = this.#parts.get(target)
    if (part) part.push({ index, publication })
    else this.#parts.set(target, [{ index, publication }])
  }

  /** The outcomes of each item in its shards, by its index. */
  async publish(): Promise<ReadonlyMap<number, readonly PublishOutcome[]>> {
    const all = new Map<number, PublishOutcome[]>()
    await Promise.all(
      [...this.#parts].map(async ([shard, part]) => {
        // A shard that failed does not undo what another took: its items fail one by one.
        const outcomes = await shard
          .publish(part.map(({ publication }) => publication))
          .catch((error: unknown) => part.map((): PublishOutcome => ({ kind: 'failed', error })))
        for (const [at, outcome] of outcomes.entries()) {
          const index = part[at]?.index ?? -1
          const known = all.get(index)
          if (known) known.push(outcome)
          else all.set(index, [outcome])
        }
      })
    )
    return all
  }
}

/**
 * A publication with the id under which its key was first taken. Each shard takes it once by that
 * id, which no producer's key equals.
 */
function claimed(
  item: Publication,
  { id, createdAt }: { readonly id: string; readonly createdAt: number }
): Publication {
  const fingerprint = item.idempotency?.fingerprint ?? ''
  return { ...item, id, createdAt, idempotency: { key: id, fingerprint } }
}

/**
 * One outcome for the producer, from the claim of its key, if there was one, and from the shards.
 */
function outcomeOf(
  claim: PublishOutcome | undefined,
  outcomes: readonly PublishOutcome[]
): PublishOutcome {
  const failed = outcomes.find(({ kind }) => kind === 'failed')
  if (failed !== undefined) return failed
  if (claim !== undefined && !('id' in claim)) return claim
  // It may have expired between two shards, or before a retry: a shard that took it keeps it.
  const taken = outcomes.find(({ kind }) => kind !== 'expired')
  return taken === undefined ? { kind: 'expired' } : (claim ?? taken)
}
