/** The names in Redis that this side uses itself; all others are made by the scripts, see `prelude-log.lua`. */
export interface RedisKeys {
  /** `REDIS_PREFIX`: what every key and channel begins with. */
  readonly prefix: string
  /** Hash with the epoch, the head and what else there is one of. */
  readonly state: string
  /** Stream of everything that is followed. */
  readonly log: string
  /** Hash of the moments at which users were revoked. */
  readonly revoked: string
  /** Pub/Sub channel that wakes the nodes when the log has grown. Its name on the wire is that of earlier versions. */
  readonly wake: string
}

/**
 * All keys of a shard carry one hash tag: a script finds everything in one slot of a cluster, and other shards and prefixes lie in
 * others. The first is named alike however many there are, so that it can tell a process that reckons with another number.
 */
export function redisKeys(prefix: string, shard: number): RedisKeys {
  const base = `${prefix}:{${shard === 0 ? prefix : `${prefix}.${shard}`}}:`
  return {
    prefix,
    state: `${base}state`,
    log: `${base}log`,
    revoked: `${base}z:`,
    wake: `${base}bell`
  }
}
