import type { Cluster, Redis, RedisOptions } from 'ioredis'
import {
  REDIS_COMMAND_TIMEOUT_MS,
  REDIS_RECONNECT_MS,
  REDIS_SOCKET_TIMEOUT_MS
} from '../../bounds/limits.ts'
import { makeCluster } from './cluster-client.ts'
import { isReadOnly, noteLoneNode } from './redis-errors.ts'
import { parseRedisUrl, type RedisAddress } from './redis-url.ts'

/** A connection: to one server, or to all masters of a Cluster. */
export type RedisConnection = Redis | Cluster

/**
 * What a connection is for. Each purpose has its own, so that none waits behind the work of
 * another.
 */
export type RedisRole = 'commands' | 'reads' | 'subscriber'

/** The connections of one process. All are being made; none needs to be ready yet. */
export interface RedisClients extends Readonly<Record<RedisRole, RedisConnection>> {
  readonly kind: RedisAddress['kind']
  /** Number of the database that `REDIS_URL` names; 0 in a Cluster. */
  readonly db: number
  /** Closes all of them at once. */
  close(): void
}

/** How connections are named and reported. */
export interface RedisClientOptions {
  /** `CLIENT LIST` shows it, followed by the role. */
  readonly name: string
  /**
   * Receives every error of a connection, for the log only: connections reconnect by themselves.
   */
  readonly onError: (error: Error, role: RedisRole) => void
}

/**
 * Connects to `REDIS_URL`, which the config has checked. Loads ioredis on the first call, so that
 * other stores work without it. A command waits at most {@link REDIS_COMMAND_TIMEOUT_MS}, and fails
 * at once if there is no connection. Nothing is queued for later: a write that its caller has given
 * up must not happen after all.
 */
export async function connectRedis(
  url: string,
  options: RedisClientOptions
): Promise<RedisClients> {
  const address = parseRedisUrl(url)
  // Without the value, which may contain a password.
  if (address === undefined) throw new TypeError('not an address of Redis')
  const { Cluster, Redis } = await import('ioredis')
  let closed = false
  const make = (role: RedisRole): RedisConnection => {
    const redisOptions = commonOptions(address, `${options.name}:${role}`)
    const onError = (error: Error): void =>
      options.onError(address.kind === 'sentinel' ? sentinelErrorOf(error) : error, role)
    const connection =
      address.kind === 'cluster'
        ? makeCluster(Cluster, address.nodes, onError, {
            redisOptions,
            subscribes: role === 'subscriber',
            tls: address.tls,
            reconnectDelay
          })
        : new Redis({
            ...redisOptions,
            ...target(address),
            retryStrategy: reconnectDelay,
            enableOfflineQueue: false
          }).on('error', onError)
    // ioredis gives up if a Sentinel reports a fail-over while it connects: no connection may stay
    // closed.
    connection.on('end', () => {
      if (!closed)
        setTimeout(() => closed || connection.connect().catch(() => {}), reconnectDelay(1))
    })
    return connection
  }
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

/** True while a connection takes commands. */
export const isReady = (connection: RedisConnection): boolean => connection.status === 'ready'

/** Calls `then` now if the connection takes commands, and each time it does so again. */
export function whenReady(connection: RedisConnection, then: () => void): void {
  connection.on('ready', then)
  if (isReady(connection)) then()
}

/** Random, so that the connections of many processes do not all return at one moment. */
const reconnectDelay = (attempts: number): number =>
  Math.min(50 * attempts, REDIS_RECONNECT_MS) * (0.75 + Math.random() / 2)

function commonOptions(address: RedisAddress, connectionName: string) {
  return {
    connectionName,
    // Redis 6.2 and every proxy speak RESP2, and nothing here needs more.
    protocol: 2,
    ...(address.username === undefined ? {} : { username: address.username }),
    ...(address.password === undefined ? {} : { password: address.password }),
    ...(address.tls ? { tls: {} } : {}),
    connectTimeout: REDIS_COMMAND_TIMEOUT_MS,
    commandTimeout: REDIS_COMMAND_TIMEOUT_MS,
    // A peer that vanished without a FIN never replies: without this limit commands wait for 15
    // minutes.
    socketTimeout: REDIS_SOCKET_TIMEOUT_MS,
    keepAlive: 10_000,
    // What was in flight when a connection broke fails at once. Only the caller knows how to repeat
    // it without doing it twice.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    // Each listener subscribes when its connection is ready: ioredis would not report a failure.
    autoResubscribe: false,
    // A demoted master refuses writes: reconnect, and find the new one.
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
    // Sentinels report a fail-over at once, even if the old master is frozen and closes no
    // connection.
    failoverDetector: true,
    sentinelCommandTimeout: REDIS_COMMAND_TIMEOUT_MS,
    sentinelRetryStrategy: reconnectDelay
  } satisfies RedisOptions
}

/** Says that a Sentinel refused: the message of ioredis reads as if Redis had. */
function sentinelErrorOf(error: Error): Error {
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
