import type { Cluster, ClusterOptions, Redis, RedisOptions } from 'ioredis'
import {
  REDIS_COMMAND_TIMEOUT_MS,
  REDIS_RECONNECT_MS,
  REDIS_REFRESH_MS,
  REDIS_SOCKET_TIMEOUT_MS
} from '../../bounds/limits.ts'
import { isReadOnly, noteLoneNode } from './redis-errors.ts'
import { parseRedisUrl, type RedisAddress } from './redis-url.ts'

/** One connection as the rest uses it: a server, or all masters of a cluster. */
export type RedisConnection = Redis | Cluster

/** What a connection is for; each has its own, so that none waits behind another's work. */
export type RedisRole = 'commands' | 'reads' | 'subscriber'

/** The connections of one process. All are being made when this is returned; none needs to be there yet. */
export interface RedisClients extends Readonly<Record<RedisRole, RedisConnection>> {
  readonly kind: RedisAddress['kind']
  /** Number of the database that `REDIS_URL` names; 0 in a Cluster. */
  readonly db: number
  /** Lets go of all of them, at once. */
  close(): void
}

export interface RedisClientOptions {
  /** Shown by `CLIENT LIST`, followed by the role. */
  readonly name: string
  /** Hears every trouble of a connection. They mend themselves: this is for the log only. */
  readonly onError: (error: Error, role: RedisRole) => void
}

/**
 * Makes the connections for `REDIS_URL`, which the config has checked. Loads ioredis on the first call, so that other stores
 * do without it. A command never waits longer than {@link REDIS_COMMAND_TIMEOUT_MS}, and fails at once where there is no
 * connection: nothing is queued for later, since a write that its caller has given up must not happen after all.
 */
export async function connectRedis(
  url: string,
  options: RedisClientOptions
): Promise<RedisClients> {
  const address = parseRedisUrl(url)
  if (address === undefined) throw new TypeError('not an address of Redis') // never with its value: it may hold a password
  const library = await import('ioredis')
  const make = (role: RedisRole): RedisConnection => {
    const common = commonOptions(address, `${options.name}:${role}`)
    const onError = (error: Error): void =>
      options.onError(address.kind === 'sentinel' ? ofSentinel(error) : error, role)
    const connection =
      address.kind === 'cluster'
        ? explained(
            paced(
              new library.Cluster([...address.nodes], clusterOptions(common, role, address.tls))
            ),
            onError
          )
        : new library.Redis({
            ...common,
            ...target(address),
            retryStrategy: reconnectDelay,
            enableOfflineQueue: false
          }).on('error', onError)
    // The library gives up where a Sentinel tells of a fail-over while it is just calling: no connection may stay dead for that.
    connection.on('end', () => {
      if (!closed)
        setTimeout(() => closed || connection.connect().catch(() => {}), reconnectDelay(1))
    })
    return connection
  }
  let closed = false
  const clients = {
    commands: make('commands'),
    reads: make('reads'),
    subscriber: make('subscriber')
  }
  return {
    kind: address.kind,
    db: address.kind === 'cluster' ? 0 : address.db,
    ...clients,
    close() {
      closed = true
      for (const connection of Object.values(clients)) connection.disconnect()
    }
  }
}

/** True from the moment a connection takes commands until it is lost. */
export const isReady = (connection: RedisConnection): boolean => connection.status === 'ready'

/** Spread, so that the connections of many processes do not come back in one moment. */
const reconnectDelay = (times: number): number =>
  Math.min(50 * times, REDIS_RECONNECT_MS) * (0.75 + Math.random() / 2)

function commonOptions(address: RedisAddress, connectionName: string) {
  return {
    connectionName,
    // RESP2 is what 6.2 and every proxy of it speak; nothing here needs more.
    protocol: 2,
    ...(address.username === undefined ? {} : { username: address.username }),
    ...(address.password === undefined ? {} : { password: address.password }),
    ...(address.tls ? { tls: {} } : {}),
    connectTimeout: REDIS_COMMAND_TIMEOUT_MS,
    commandTimeout: REDIS_COMMAND_TIMEOUT_MS,
    // A peer that vanished without a FIN answers nothing: without this the connection would be waited on for a quarter of an hour.
    socketTimeout: REDIS_SOCKET_TIMEOUT_MS,
    keepAlive: 10_000,
    // What was in flight when a connection broke fails at once, and is the caller's to repeat: only it knows how to do so
    // without doing it twice.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    // Who listens subscribes whenever the connection is there; the library's own try has nobody who hears that it failed.
    autoResubscribe: false,
    // A demoted master refuses writes: leave it, and find the new one.
    reconnectOnError: (error) => {
      if (address.kind !== 'cluster') noteLoneNode(error)
      return isReadOnly(error)
    }
  } as const satisfies RedisOptions
}

function target(address: Exclude<RedisAddress, { kind: 'cluster' }>) {
  if (address.kind === 'single')
    return { host: address.host, port: address.port, db: address.db } satisfies RedisOptions
  return {
    sentinels: [...address.sentinels],
    name: address.master,
    db: address.db,
    ...(address.sentinelUsername === undefined
      ? {}
      : { sentinelUsername: address.sentinelUsername }),
    ...(address.sentinelPassword === undefined
      ? {}
      : { sentinelPassword: address.sentinelPassword }),
    ...(address.tls ? { enableTLSForSentinelMode: true, sentinelTLS: {} } : {}),
    // The sentinels tell of a fail-over at once, where the old master is frozen and breaks no connection.
    failoverDetector: true,
    sentinelCommandTimeout: REDIS_COMMAND_TIMEOUT_MS,
    sentinelRetryStrategy: reconnectDelay
  } satisfies RedisOptions
}

/**
 * While a master is away the library's sharded subscriber calls it, fails, and asks where the slots are, again and again without a
 * pause: all of a core, in 6.0.0. Here it asks at most every {@link REDIS_REFRESH_MS}.
 */
function paced(cluster: Cluster): Cluster {
  const refresh = cluster.refreshSlotsCache.bind(cluster)
  let askedAt = Number.NEGATIVE_INFINITY
  let waiting: Parameters<typeof refresh>[0][] | undefined
  cluster.refreshSlotsCache = (callback) => {
    if (waiting) {
      waiting.push(callback)
      return
    }
    waiting = [callback]
    const ask = (): void => {
      const callbacks = waiting ?? []
      waiting = undefined
      askedAt = performance.now()
      for (const one of callbacks) refresh(one)
    }
    const pause = askedAt + REDIS_REFRESH_MS - performance.now()
    if (pause <= 0) ask()
    else setTimeout(ask, pause).unref()
  }
  return cluster
}

/**
 * The library says that no node told its slots, and nowhere why: it asks over a connection of its own, whose errors it drops. Here they
 * are heard, and told behind its words.
 */
function explained(cluster: Cluster, onError: (error: Error) => void): Cluster {
  let cause: Error | undefined
  cluster.on('+node', (node: Redis) => {
    const duplicate = node.duplicate.bind(node)
    node.duplicate = (...override) =>
      duplicate(...override).on('error', (error: Error) => (cause = error))
  })
  cluster.on('error', (error: Error & { lastNodeError?: Error | null }) => {
    const { lastNodeError } = error
    const reason = cause ?? lastNodeError
    cause = undefined
    onError(lastNodeError && reason ? new Error(`${error.message} ${reason.message}`) : error)
  })
  return cluster
}

/** What Sentinels answered: the library reports it in words that fit Redis as well. */
function ofSentinel(error: Error): Error {
  const answer = /^All sentinels are unreachable.* Last error: (.*)$/s.exec(error.message)?.[1]
  if (answer === undefined) return error
  if (/^(?:WRONGPASS|NOAUTH|NOPERM|ERR (?:AUTH|Client sent AUTH|invalid password))/.test(answer)) {
    return new Error(
      `a Sentinel, not Redis, refused the user or the password: name those of the Sentinels with ?sentinel=user:password at the end of REDIS_URL (${answer})`
    )
  }
  if (!answer.includes('No such master')) return error
  return new Error(
    `the Sentinels watch no master of the name that REDIS_URL ends with: write redis+sentinel://host:port/master (${answer})`
  )
}

function clusterOptions(common: ReturnType<typeof commonOptions>, role: RedisRole, tls: boolean) {
  return {
    // A certificate names hosts: a name must come to TLS as it is, not as the address that it has.
    ...(tls ? { dnsLookup: (name, done) => done(null, name) } : {}),
    redisOptions: common,
    enableOfflineQueue: false,
    clusterRetryStrategy: reconnectDelay,
    // Each try is short, and all together stay within a command's time.
    maxRedirections: 8,
    slotsRefreshTimeout: REDIS_COMMAND_TIMEOUT_MS,
    shardedSubscribers: role === 'subscriber'
  } satisfies ClusterOptions
}
