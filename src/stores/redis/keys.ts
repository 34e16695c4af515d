/** The names in Redis that this side uses itself; all others are made by the scripts, see `prelude.lua`. */
export interface RedisKeys {
  /** Hash with the epoch, the head and what else there is one of. */
  readonly state: string
  /** Stream of everything that is followed. */
  readonly log: string
  /** Hash of the moments at which users were revoked. */
  readonly revoked: string
  /** Channel of the bell: rung when the log has grown. */
  readonly bell: string
}

/** All carry the prefix as their hash tag: a script finds everything in one slot of a cluster, and other prefixes lie in others. */
export function redisKeys(prefix: string): RedisKeys {
  const base = `${prefix}:{${prefix}}:`
  return { state: `${base}state`, log: `${base}log`, revoked: `${base}z:`, bell: `${base}bell` }
}
