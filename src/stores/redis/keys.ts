/**
 * The names in Redis that this process uses itself. The scripts build all others; see
 * `prelude-log.lua`.
 */
export interface RedisKeys {
  /** `REDIS_PREFIX`: the start of every key and channel. */
  readonly prefix: string
  /** The start of every key of this shard. */
  readonly base: string
  /** Hash with the epoch, the head and everything else that a log has one of. */
  readonly state: string
  /** Stream of everything that is followed. */
  readonly log: string
  /**
   * Pub/Sub channel that wakes the nodes when the log has grown. Earlier versions use the same
   * name.
   */
  readonly wake: string
}

/**
 * All keys of a shard carry one hash tag, so that a script finds everything in one slot of a
 * Cluster while other shards and prefixes are in other slots. The first shard has the same name
 * whatever their number, so that it can refuse a process that is set to another number.
 */
export function redisKeys(prefix: string, shard: number): RedisKeys {
  const base = `${prefix}:{${shard === 0 ? prefix : `${prefix}.${shard}`}}:`
  return { prefix, base, state: `${base}state`, log: `${base}log`, wake: `${base}bell` }
}
