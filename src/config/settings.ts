import type { z } from 'zod'
import { publishScopes } from './scopes.ts'
import * as value from './values.ts'

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
): Row<S, string> => ({ schema, default: fallback, secret: false, description })

const optional = <S extends z.ZodType>(schema: S, description: string): Row<S, undefined> => ({
  schema,
  default: undefined,
  secret: false,
  description
})

const secret = <S extends z.ZodType>(schema: S, description: string): Row<S, undefined> => ({
  ...optional(schema, description),
  secret: true
})

const PROCESS = {
  NODE_ENV: withDefault(
    value.oneOf(['production', 'development', 'test']),
    'development',
    'environment: production, development or test; production refuses to start without keys and an auth method, the others may use the fixed development keys'
  ),
  HOST: optional(
    value.host,
    'address to listen on; unset: 0.0.0.0 in production, 127.0.0.1 otherwise'
  ),
  PORT: withDefault(value.port, '3000', 'port to listen on; 0: the system chooses'),
  BASE_PATH: withDefault(value.basePath, '', 'path prefix of all routes, such as /notify'),
  PUBLIC_URL: optional(
    value.publicUrl,
    'URL at which clients reach the service, such as https://notify.example.com'
  ),
  TRUST_PROXY: withDefault(
    value.trustProxy,
    'false',
    'proxies whose X-Forwarded-* headers are trusted: false, true, a number of hops, or addresses separated by commas'
  ),
  LOG_LEVEL: withDefault(
    value.oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    'info',
    'lowest level that is logged: fatal, error, warn, info, debug, trace or silent'
  ),
  CORS_ORIGINS: withDefault(
    value.origins,
    '',
    'origins whose pages may call with credentials, separated by commas; https://*.example.com covers subdomains at any depth'
  )
}

const KEYS = {
  PUBLISH_KEYS: secret(
    value.publishKeys,
    'keys of the producers, name:key,name:key; a name may have two keys during a rotation; in production at least 16 characters each'
  ),
  PUBLISH_SCOPES: withDefault(
    publishScopes,
    '',
    'what a producer may do, name:scope+scope,name:scope, by the names of PUBLISH_KEYS: publish, tickets, users, events; a name that is not listed may do everything'
  ),
  MONITOR_KEYS: secret(
    value.monitorKeys,
    'keys of the operators, separated by commas, each name:key or a key without a colon; in production at least 16 characters each'
  )
}

const SUBSCRIBERS = {
  AUTH_JWT_SECRET: secret(
    value.jwtSecret,
    'secret of subscriber JWTs (HS256), at least 32 bytes, no PEM or JWK'
  ),
  AUTH_JWT_SECRET_PREVIOUS: secret(
    value.jwtSecret,
    'previous AUTH_JWT_SECRET, still accepted while tokens are renewed'
  ),
  AUTH_JWKS_URL: optional(
    value.httpUrl,
    'URL of the key set that verifies subscriber JWTs (RS256, ES256, EdDSA and similar), instead of AUTH_JWT_SECRET'
  ),
  AUTH_JWT_ISSUER: optional(value.text, 'required iss of subscriber JWTs'),
  AUTH_JWT_AUDIENCE: withDefault(
    value.audiences,
    '',
    'accepted aud of subscriber JWTs, separated by commas; one must match; unset: any'
  ),
  AUTH_JWT_USER_CLAIM: withDefault(
    value.claim,
    'sub',
    'claim of subscriber JWTs that holds the user: a name, or a JSON pointer such as /app/userId'
  ),
  AUTH_JWT_TOPICS_CLAIM: withDefault(
    value.claim,
    'topics',
    'claim of subscriber JWTs that holds the topics: a name or a JSON pointer'
  ),
  AUTH_COOKIE: withDefault(
    value.cookieName,
    'session',
    'cookie that holds the JWT or the signed user name'
  ),
  COOKIE_SECRET: secret(
    value.secretText,
    "secret of signed cookies whose value is the user name (@fastify/cookie's format)"
  ),
  COOKIE_SECRET_PREVIOUS: secret(
    value.secretText,
    'previous COOKIE_SECRET, still accepted while cookies are renewed'
  ),
  AUTH_SESSION_URL: optional(
    value.httpUrl,
    'URL that receives the caller\'s Cookie and Authorization and answers who the subscriber is: {"user","topics","expiresAt"}'
  )
}

const STORE = {
  STORE: withDefault(
    value.oneOf(['sqlite', 'memory', 'redis']),
    'sqlite',
    'where notifications are kept: sqlite (durable), redis (shared by many processes) or memory (lost when the process ends)'
  ),
  DATA_DIR: withDefault(value.text, './data', 'directory of the embedded store'),
  STORE_SYNC: withDefault(
    value.oneOf(['full', 'normal']),
    'full',
    'what an accepted notification survives: full (a power cut) or normal (the end of the process)'
  ),
  RETENTION_DAYS: withDefault(value.limit, '30', 'days to keep a notification; 0: forever'),
  RETENTION_PER_CHANNEL: withDefault(
    value.limit,
    '1000',
    'notifications to keep for each user, each topic and everyone; 0: all'
  )
}

const REDIS = {
  REDIS_URL: secret(
    value.redisUrl,
    'address of Redis for STORE=redis: redis://user:password@host:port/db, rediss:// for TLS, host:port,host:port for a Cluster, redis+sentinel://host:port,host:port/master'
  ),
  REDIS_PREFIX: withDefault(
    value.redisPrefix,
    'bellwire',
    'prefix of every key in Redis; processes with the same prefix share a log'
  ),
  REDIS_SHARDS: withDefault(
    value.shards,
    '1',
    'number of logs that users are spread over, for a Cluster: each log is on one server; fixed once the first notification is stored'
  ),
  REDIS_WAIT_REPLICAS: withDefault(
    value.limit,
    '0',
    'replicas that must hold a notification before it is accepted; 0: none'
  )
}

const RATES = {
  RATE_LIMIT: withDefault(
    value.limit,
    '600',
    'requests per minute and subscriber to polling and the inbox; 0: no limit'
  ),
  PUBLISH_RATE: withDefault(value.limit, '0', 'requests per second and publish key; 0: no limit')
}

const CONNECTIONS = {
  HEARTBEAT_MS: withDefault(
    value.milliseconds(),
    '15000',
    'milliseconds between heartbeats on a silent stream; at most half the idle time-out of your proxies'
  ),
  MAX_BUFFERED_BYTES: withDefault(
    value.limitOrInfinite,
    '1048576',
    'bytes that may wait for one slow client; 0: no limit'
  ),
  STALL_MS: withDefault(
    value.milliseconds(),
    '30000',
    'milliseconds after which a client that reads nothing is disconnected'
  ),
  MAX_CONNECTIONS: optional(
    value.limit,
    'streams, sockets and waiting polls at once; unset: the open-file limit minus 200; 0: no limit'
  ),
  MAX_CONNECTIONS_PER_USER: withDefault(value.limit, '20', 'connections per user; 0: no limit'),
  MAX_CONNECTIONS_PER_IP: withDefault(
    value.limit,
    '0',
    'connections per client address; 0: no limit'
  ),
  MAX_CONNECTION_AGE_MS: withDefault(
    value.milliseconds(),
    '3600000',
    'milliseconds after which a stream is asked to reconnect, plus or minus 10 %'
  ),
  DRAIN_MS: withDefault(
    value.milliseconds(),
    '5000',
    'milliseconds over which a stopping process closes its streams'
  )
}

const ALERTS = {
  ALERT_WEBHOOK_URL: optional(value.httpUrl, 'URL that receives a POST when the status changes'),
  ALERT_WEBHOOK_SECRET: secret(value.secretText, 'secret that signs those requests')
}

/**
 * Every setting: name, format, default and description. `Config`, `--help` and `.env.example` come
 * from this table, so a new setting is one row here, and the code that uses it.
 */
export const TABLE = {
  ...PROCESS,
  ...KEYS,
  ...SUBSCRIBERS,
  ...STORE,
  ...REDIS,
  ...RATES,
  ...CONNECTIONS,
  ...ALERTS
} as const

/** The name of a setting, as the environment has it. */
export type SettingName = keyof typeof TABLE

/** All names, in the order of the table. */
export const SETTING_NAMES = Object.keys(TABLE) as readonly SettingName[]

/** What each setting is after parsing; undefined if it is unset and has no default. */
export type Values = {
  readonly [N in SettingName]: (typeof TABLE)[N] extends Row<infer S, infer D>
    ? z.output<S> | (D extends string ? never : undefined)
    : never
}

/** A setting as people read about it, in `--help` and in the documentation. */
export interface Setting {
  readonly name: string
  /**
   * As it would be written; empty if it has none, or if the description says what it depends on.
   */
  readonly default: string
  /** True if it may also be given as `<name>_FILE` and must never be shown. */
  readonly secret: boolean
  readonly description: string
}

const describe = ([name, row]: [string, Row]): Setting => ({
  name,
  default: row.default ?? '',
  secret: row.secret,
  description: row.description
})

/** Every setting, for people. */
export const SETTINGS: readonly Setting[] = Object.entries(TABLE).map(describe)

/** The same, under the headings of `.env.example`. */
export const SETTING_GROUPS: readonly {
  readonly title: string
  readonly note?: string
  readonly settings: readonly Setting[]
}[] = [
  { title: 'Process', rows: PROCESS },
  { title: 'Keys of producers and operators', note: 'Required in production.', rows: KEYS },
  {
    title: 'Subscribers',
    note: 'Production needs one of AUTH_JWT_SECRET, AUTH_JWKS_URL, COOKIE_SECRET, AUTH_SESSION_URL.',
    rows: SUBSCRIBERS
  },
  { title: 'Store', rows: STORE },
  { title: 'Redis', rows: REDIS },
  { title: 'Rates', rows: RATES },
  { title: 'Connections', rows: CONNECTIONS },
  { title: 'Alerts', rows: ALERTS }
].map(({ rows, ...group }) => ({ ...group, settings: Object.entries(rows).map(describe) }))
