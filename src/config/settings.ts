import type { z } from 'zod'
import * as value from './values.ts'

/** A row of the table of settings, for `--help` and the documentation. */
export interface Setting {
  readonly name: string
  /** As it would be written; empty where it is unset, or where the description tells what it depends on. */
  readonly default: string
  /** True where it may also be given as `<name>_FILE` and must never be shown. */
  readonly secret: boolean
  readonly description: string
}

interface Row<S extends z.ZodType = z.ZodType, D extends string | undefined = string | undefined> {
  readonly schema: S
  readonly default: D
  readonly secret: boolean
  readonly description: string
}

const withDefault = <S extends z.ZodType>(
  schema: S,
  fallback: string,
  description: string
): Row<S, string> => ({
  schema,
  default: fallback,
  secret: false,
  description
})
const optional = <S extends z.ZodType>(schema: S, description: string): Row<S, undefined> => ({
  schema,
  default: undefined,
  secret: false,
  description
})
const secret = <S extends z.ZodType>(schema: S, description: string): Row<S, undefined> => ({
  schema,
  default: undefined,
  secret: true,
  description
})

/** Every setting. The one place that knows their names, defaults and forms. */
export const TABLE = {
  NODE_ENV: withDefault(
    value.oneOf(['production', 'development', 'test']),
    'development',
    'production, development or test; production refuses to start without keys and a way in, the others may use the fixed development keys'
  ),
  HOST: optional(
    value.host,
    'address to listen on; unset: 0.0.0.0 in production, 127.0.0.1 otherwise'
  ),
  PORT: withDefault(value.port, '3000', 'port to listen on; 0 lets the system choose'),
  BASE_PATH: optional(value.basePath, 'path that all routes begin with, such as /notify'),
  PUBLIC_URL: optional(
    value.publicUrl,
    'where clients find the service, such as https://notify.example.com'
  ),
  TRUST_PROXY: withDefault(
    value.trustProxy,
    'false',
    'whose X-Forwarded-* headers count: false, true, a number of hops, or addresses separated by commas'
  ),
  LOG_LEVEL: withDefault(
    value.oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    'info',
    'fatal, error, warn, info, debug, trace or silent'
  ),
  CORS_ORIGINS: optional(
    value.origins,
    'origins whose pages may call with credentials, separated by commas; https://*.example.com covers subdomains at any depth'
  ),
  STORE: withDefault(
    value.oneOf(['sqlite', 'memory', 'redis']),
    'sqlite',
    'sqlite (durable), redis (shared by many processes), or memory (gone with the process)'
  ),
  DATA_DIR: withDefault(value.text, './data', 'directory of the embedded store'),
  STORE_SYNC: withDefault(
    value.oneOf(['full', 'normal']),
    'full',
    'full: an accepted notification survives a power cut; normal: it survives the end of the process'
  ),
  REDIS_URL: secret(
    value.redisUrl,
    'address of Redis for STORE=redis: redis://user:password@host:port/db, rediss:// for TLS, host:port,host:port for a cluster, redis+sentinel://host:port,host:port/master'
  ),
  REDIS_PREFIX: withDefault(
    value.redisPrefix,
    'bellwire',
    'what every key in Redis begins with; processes with the same one share a log'
  ),
  REDIS_SHARDS: withDefault(
    value.shards,
    '1',
    'logs that users are spread over, for a Cluster: each lies on one server; fixed once the first notification is there'
  ),
  REDIS_WAIT_REPLICAS: withDefault(
    value.limit,
    '0',
    'replicas that must have a notification before it is accepted; 0: none is asked'
  ),
  RETENTION_DAYS: withDefault(value.limit, '30', 'days a notification is kept; 0: for ever'),
  RETENTION_PER_CHANNEL: withDefault(
    value.limit,
    '1000',
    'notifications that one user, one topic or everyone keeps; 0: all'
  ),
  RATE_LIMIT: withDefault(
    value.limit,
    '600',
    'requests a minute and subscriber on polling and the inbox; 0: no limit'
  ),
  PUBLISH_RATE: withDefault(value.limit, '0', 'requests a second and publish key; 0: no limit'),
  PUBLISH_KEYS: secret(
    value.publishKeys,
    'keys of the producers, name:key,name:key; a name may have two keys while one replaces the other; in production each has 16 characters or more'
  ),
  MONITOR_KEYS: secret(
    value.monitorKeys,
    'keys of the operators, separated by commas, each name:key or a key without a colon; in production of 16 characters or more'
  ),
  AUTH_JWT_SECRET: secret(
    value.jwtSecret,
    'secret of subscriber JWTs (HS256), at least 32 bytes, no PEM or JWK'
  ),
  AUTH_JWT_SECRET_PREVIOUS: secret(
    value.jwtSecret,
    'the secret before it, still accepted while tokens are renewed'
  ),
  AUTH_JWKS_URL: optional(
    value.httpUrl,
    'key set of subscriber JWTs (RS256, ES256, EdDSA and the like), instead of AUTH_JWT_SECRET'
  ),
  AUTH_JWT_ISSUER: optional(value.text, 'required iss of subscriber JWTs'),
  AUTH_JWT_AUDIENCE: optional(
    value.audiences,
    'required aud of subscriber JWTs; several, separated by commas, any of which will do'
  ),
  AUTH_JWT_USER_CLAIM: withDefault(
    value.claim,
    'sub',
    'claim of subscriber JWTs that holds the user; a name that begins with / is a JSON pointer, such as /app/userId'
  ),
  AUTH_JWT_TOPICS_CLAIM: withDefault(
    value.claim,
    'topics',
    'claim of subscriber JWTs that holds the topics; a name or a JSON pointer, as for the user'
  ),
  AUTH_COOKIE: withDefault(
    value.cookieName,
    'session',
    'cookie that holds the JWT or the signed user id'
  ),
  COOKIE_SECRET: secret(
    value.secretText,
    "secret of signed cookies whose value is the user id (@fastify/cookie's format)"
  ),
  COOKIE_SECRET_PREVIOUS: secret(
    value.secretText,
    'the secret before it, still accepted while cookies are renewed'
  ),
  AUTH_SESSION_URL: optional(
    value.httpUrl,
    'asked, with the caller\'s Cookie and Authorization, who a subscriber is: {"user","topics","expiresAt"}'
  ),
  HEARTBEAT_MS: withDefault(
    value.milliseconds(),
    '15000',
    'milliseconds between heartbeats on a silent stream; at most half of what the proxies in front wait'
  ),
  MAX_BUFFERED_BYTES: withDefault(
    value.limit,
    '1048576',
    'bytes that may wait for one slow reader; 0: no limit'
  ),
  STALL_MS: withDefault(
    value.milliseconds(),
    '30000',
    'milliseconds after which a reader that takes nothing is cut off'
  ),
  MAX_CONNECTIONS: optional(
    value.limit,
    'streams, sockets and waiting polls at once; unset: the open-file limit less 200; 0: no limit'
  ),
  MAX_CONNECTIONS_PER_USER: withDefault(value.limit, '20', 'connections of one user; 0: no limit'),
  MAX_CONNECTIONS_PER_IP: withDefault(
    value.limit,
    '0',
    'connections from one address; 0: no limit'
  ),
  MAX_CONNECTION_AGE_MS: withDefault(
    value.milliseconds(),
    '3600000',
    'milliseconds after which a stream is asked to come back, give or take 10 %'
  ),
  DRAIN_MS: withDefault(
    value.milliseconds(),
    '5000',
    'milliseconds over which a stopping process sends its streams away'
  ),
  ALERT_WEBHOOK_URL: optional(value.httpUrl, 'told by POST when the status changes'),
  ALERT_WEBHOOK_SECRET: secret(value.secretText, 'secret that signs what ALERT_WEBHOOK_URL is told')
} as const

export type SettingName = keyof typeof TABLE

/** What each setting became. */
export type Values = {
  readonly [N in SettingName]: (typeof TABLE)[N] extends Row<infer S, infer D>
    ? z.output<S> | (D extends string ? never : undefined)
    : never
}

export const SETTINGS: readonly Setting[] = Object.entries(TABLE).map(([name, row]) => ({
  name,
  default: row.default ?? '',
  secret: row.secret,
  description: row.description
}))
