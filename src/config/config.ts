import { readFileSync } from 'node:fs'
import path from 'node:path'
import { RESERVED_FILES } from '../bounds/limits.ts'
import { type Environment, readEnvFile, withEnvFile } from './env-file.ts'
import {
  DEVELOPMENT,
  isLoopback,
  type KeysInUse,
  keysInUse,
  shortKeys,
  WAYS_IN,
  weakKeys
} from './keys-in-use.ts'
import { nearestName } from './misspelt.ts'
import { openFileLimit } from './open-files.ts'
import { SETTINGS, type SettingName, TABLE, type Values } from './settings.ts'
import { isQuoted, isSet, type NamedKey, type TrustProxy } from './values.ts'

export { isPublic } from './keys-in-use.ts'
export { SETTINGS, type Setting } from './settings.ts'
export type { NamedKey, TrustProxy } from './values.ts'

/** How subscribers prove who they are. */
export interface AuthConfig {
  /** HS256 secrets, the current one first; empty where JWTs are not used or come with a key set. */
  readonly jwtSecrets: readonly string[]
  readonly jwksUrl?: string | undefined
  readonly jwtIssuer?: string | undefined
  /** Accepted audiences, any of which will do; empty if none is required. */
  readonly jwtAudience: readonly string[]
  /** Claims that hold the user and the topics: names, or JSON pointers. */
  readonly jwtUserClaim: string
  readonly jwtTopicsClaim: string
  /** Name of the cookie that holds a JWT or a signed user id. */
  readonly cookie: string
  /** Secrets of signed cookies, the current one first. */
  readonly cookieSecrets: readonly string[]
  readonly sessionUrl?: string | undefined
}

/** The settings, checked. Durations are milliseconds; a limit of 0 is off. */
export interface Config {
  readonly nodeEnv: 'production' | 'development' | 'test'
  readonly production: boolean
  readonly host: string
  readonly port: number
  /** Empty, or `/x` without a slash at its end. */
  readonly basePath: string
  readonly publicUrl: string | undefined
  readonly trustProxy: TrustProxy
  readonly logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'
  readonly corsOrigins: readonly string[]
  readonly store: 'sqlite' | 'memory' | 'redis'
  readonly dataDir: string
  readonly storeSync: 'full' | 'normal'
  readonly redisUrl: string | undefined
  readonly redisPrefix: string
  readonly redisShards: number
  readonly redisWaitReplicas: number
  readonly retentionDays: number
  readonly retentionPerChannel: number
  readonly rateLimit: number
  readonly publishRate: number
  readonly publishKeys: readonly NamedKey[]
  readonly monitorKeys: readonly NamedKey[]
  readonly auth: AuthConfig
  readonly heartbeatMs: number
  /** The largest safe integer where it is switched off, so that comparisons need no second case. */
  readonly maxBufferedBytes: number
  readonly stallMs: number
  readonly maxConnections: number
  readonly maxConnectionsPerUser: number
  readonly maxConnectionsPerIp: number
  readonly maxConnectionAgeMs: number
  readonly drainMs: number
  readonly alertWebhookUrl: string | undefined
  readonly alertWebhookSecret: string | undefined
  /** Settings whose fixed development key is in force, and settings that hold keys or secrets of the operator's own. */
  readonly keysInUse: KeysInUse
  /** True if others than this machine reach the service: by HOST, or through a proxy at PUBLIC_URL. */
  readonly publicAddress: boolean
  /** True if the demo may be served: all keys are the development ones, and HOST is loopback. */
  readonly demo: boolean
  /** What works but should not stay, one line each, without the value of a secret. */
  readonly warnings: readonly string[]
}

/** Settings that cannot be used. One line for each fault, which says what to do and holds no value of a secret. */
export class ConfigError extends Error {
  readonly lines: readonly string[]
  constructor(lines: readonly string[]) {
    super(lines.join('\n'))
    this.name = 'ConfigError'
    this.lines = lines
  }
}

type Flags = { readonly port?: string | number | undefined; readonly host?: string | undefined }

const NAMES = Object.keys(TABLE) as SettingName[]

/** Reads the settings, or throws a {@link ConfigError} that lists every fault at once. */
export function loadConfig(env: Environment, flags: Flags = {}): Config {
  const faults: string[] = []
  const { values, given } = readValues(env, flags, faults)
  const keys = keysInUse(values, given)
  faults.push(...misspelt(env), ...contradictions(values, given))
  faults.push(
    ...(values.NODE_ENV === 'production'
      ? unfitForProduction(values, given, keys)
      : halfOfDevelopment(values, keys))
  )
  if (faults.length > 0) throw new ConfigError(faults)
  return freeze(assemble(values as Values, keys))
}

/** All names that count: every setting, and of a secret the name of its file. */
const KNOWN = SETTINGS.flatMap(({ name, secret }) => (secret ? [name, `${name}_FILE`] : [name]))

/** Where the settings come from. */
export interface Sources {
  readonly env: Environment
  /** The file `.env` that was read, if there is one. */
  readonly file: string | undefined
}

/**
 * The environment of this process and, in a clone of the repository, its file `.env`, whatever the working directory is: a cron job
 * that runs `backup` must not find other settings than the service. Of an installed package such a file is none: beside it are the
 * package's files, and in the working directory somebody else's. Throws a {@link ConfigError} if the file cannot be read or a line
 * of it is malformed.
 */
export function readEnvironment(packageFolder: string): Sources {
  if (packageFolder.split(path.sep).includes('node_modules'))
    return { env: process.env, file: undefined }
  try {
    const found = readEnvFile(packageFolder, KNOWN)
    if (found === undefined) return { env: process.env, file: undefined }
    if (found.faults.length > 0) throw new ConfigError(found.faults)
    return { env: withEnvFile(process.env, found), file: found.file }
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const { code = 'unreadable' } = error as NodeJS.ErrnoException
    const file = path.resolve(packageFolder, '.env')
    throw new ConfigError([
      `${file} cannot be read (${code}): it must be a file that this user may read, or be gone`
    ])
  }
}

/** Values that could be read, and the names that were set at all: a fault in one setting must not be told as two. */
function readValues(
  env: Environment,
  flags: Flags,
  faults: string[]
): { values: Partial<Values>; given: ReadonlySet<SettingName> } {
  const values: Partial<Record<SettingName, unknown>> = {}
  const given = new Set<SettingName>()
  for (const name of NAMES) {
    const row = TABLE[name]
    const flag = name === 'PORT' ? flags.port : name === 'HOST' ? flags.host : undefined
    const set =
      flag === undefined ? isSet(env[name]) || (row.secret && isSet(env[`${name}_FILE`])) : true
    if (set) given.add(name)
    const raw =
      flag === undefined
        ? set
          ? readRaw(env, name, row.secret, faults)
          : row.default
        : String(flag)
    if (raw === undefined) continue
    const called = flag === undefined ? name : `--${name.toLowerCase()}`
    const value = bare(called, raw, faults)
    if (value === undefined) continue
    const result = row.schema.safeParse(value)
    if (result.success) values[name] = result.data
    else faults.push(`${called} ${result.error.issues[0]!.message}`)
  }
  return { values: values as Partial<Values>, given }
}

/**
 * A value without what a tool of deployment added to its ends: white space (`echo` into a file, a line that ends in CR) is cut off, quotes
 * that a shell would have taken off are a fault, since they may be meant.
 */
function bare(called: string, raw: string, faults: string[]): string | undefined {
  const value = raw.trim()
  if (!isQuoted(value)) return value
  faults.push(`${called} has quotes about its value, which would count as part of it: remove them`)
  return undefined
}

function readRaw(
  env: Environment,
  name: SettingName,
  secret: boolean,
  faults: string[]
): string | undefined {
  const direct = env[name]
  const file = secret ? env[`${name}_FILE`] : undefined
  if (!isSet(file)) return direct
  if (isSet(direct)) {
    faults.push(`${name} and ${name}_FILE are both set: remove one of them`)
    return undefined
  }
  const location = bare(`${name}_FILE`, file, faults)
  if (location === undefined) return undefined
  try {
    const content = readFileSync(location, 'utf8')
    if (isSet(content)) return content
    faults.push(`${name}_FILE names an empty file: write the secret into it, or remove the setting`)
  } catch (error) {
    const { code = 'unreadable' } = error as NodeJS.ErrnoException
    faults.push(
      `${name}_FILE names a file that cannot be read (${code}): check its path and its permissions`
    )
  }
  return undefined
}

function misspelt(env: Environment): string[] {
  const names = new Set(KNOWN)
  return Object.keys(env).flatMap((name) => {
    if (names.has(name) || !isSet(env[name])) return []
    const nearest = nearestName(name, KNOWN)
    if (
      nearest === `AUTH_${name}` &&
      insteadOf(nearest.replace(/_FILE$/, '')).some(
        (one) => isSet(env[one]) || isSet(env[`${one}_FILE`])
      )
    )
      return []
    return nearest === undefined ? [] : [`${name} is not a setting: did you mean ${nearest}?`]
  })
}

/** If one of these is set, a name without our prefix is no slip but another program's. */
const insteadOf = (name: string): readonly string[] =>
  (WAYS_IN as readonly string[]).includes(name) ? WAYS_IN : [name]

const hasWayIn = (given: ReadonlySet<SettingName>): boolean =>
  WAYS_IN.some((name) => given.has(name))

function contradictions(values: Partial<Values>, given: ReadonlySet<SettingName>): string[] {
  const faults: string[] = []
  const both = (a: SettingName, b: SettingName): boolean => given.has(a) && given.has(b)
  if (values.STORE === 'redis' && !given.has('REDIS_URL'))
    faults.push('REDIS_URL is required with STORE=redis: set the address')
  if (values.STORE !== undefined && values.STORE !== 'redis') {
    // The default of a setting asks for nothing.
    const { REDIS_URL, REDIS_SHARDS } = values
    for (const name of [
      REDIS_URL !== undefined && 'REDIS_URL',
      (REDIS_SHARDS ?? 1) !== 1 && 'REDIS_SHARDS'
    ])
      if (name)
        faults.push(
          `${name} is set, but STORE is ${values.STORE}, which shares nothing with other nodes: set STORE=redis, or remove it`
        )
  }
  if (both('AUTH_JWT_SECRET', 'AUTH_JWKS_URL')) {
    faults.push(
      'AUTH_JWT_SECRET and AUTH_JWKS_URL are both set: keep the one that your tokens are signed with'
    )
  }
  if (given.has('AUTH_JWT_SECRET_PREVIOUS') && !given.has('AUTH_JWT_SECRET')) {
    faults.push(
      'AUTH_JWT_SECRET_PREVIOUS is set without AUTH_JWT_SECRET: set the current secret too'
    )
  }
  if (given.has('COOKIE_SECRET_PREVIOUS') && !given.has('COOKIE_SECRET')) {
    faults.push('COOKIE_SECRET_PREVIOUS is set without COOKIE_SECRET: set the current secret too')
  }
  for (const claim of [
    'AUTH_JWT_ISSUER',
    'AUTH_JWT_AUDIENCE',
    'AUTH_JWT_USER_CLAIM',
    'AUTH_JWT_TOPICS_CLAIM'
  ] as const) {
    const verified =
      given.has('AUTH_JWT_SECRET') ||
      given.has('AUTH_JWKS_URL') ||
      (!hasWayIn(given) && values.NODE_ENV !== 'production')
    if (given.has(claim) && !verified)
      faults.push(
        `${claim} is set, but no JWT is accepted: set AUTH_JWT_SECRET or AUTH_JWKS_URL, or remove it`
      )
  }
  if (given.has('ALERT_WEBHOOK_SECRET') && !given.has('ALERT_WEBHOOK_URL')) {
    faults.push(
      'ALERT_WEBHOOK_SECRET is set without ALERT_WEBHOOK_URL: set the URL too, or remove it'
    )
  }
  return faults
}

function unfitForProduction(
  values: Partial<Values>,
  given: ReadonlySet<SettingName>,
  { development }: KeysInUse
): string[] {
  const faults: string[] = []
  if (!given.has('PUBLISH_KEYS'))
    faults.push('PUBLISH_KEYS is required in production: set name:key for each producer')
  if (!given.has('MONITOR_KEYS'))
    faults.push('MONITOR_KEYS is required in production: set a key for the operators')
  if (!hasWayIn(given)) {
    faults.push(
      `a way in for subscribers is required in production: set one of ${WAYS_IN.join(', ')}`
    )
  }
  for (const name of development) {
    if (given.has(name))
      faults.push(
        `${name} holds the development key, which everybody knows: set one of your own in production`
      )
  }
  return [...faults, ...shortKeys(values)]
}

const hostOf = ({ HOST, NODE_ENV }: Partial<Values>): string =>
  HOST ?? (NODE_ENV === 'production' ? '0.0.0.0' : '127.0.0.1')

const listed = (names: readonly SettingName[]): string => names.join(', ')

/** Real users or data behind a key that everybody knows: a deployment that forgot a setting, never a trial. */
function halfOfDevelopment(values: Partial<Values>, { development, own }: KeysInUse): string[] {
  if (development.length === 0 || own.length === 0 || isLoopback(hostOf(values))) return []
  return [
    `${listed(development)} would have the development key, which everybody knows, beside your own ${listed(own)}, on an address that others reach: set ${development.length === 1 ? 'it' : 'them'} too, or listen on HOST=127.0.0.1`
  ]
}

const present = (...secrets: (string | undefined)[]): string[] =>
  secrets.filter((secret) => secret !== undefined)

function assemble(values: Values, keys: KeysInUse): Config {
  const production = values.NODE_ENV === 'production'
  const publishKeys = values.PUBLISH_KEYS ?? [
    { name: 'development', key: DEVELOPMENT.PUBLISH_KEYS }
  ]
  const monitorKeys = values.MONITOR_KEYS ?? [
    { name: 'development', key: DEVELOPMENT.MONITOR_KEYS }
  ]
  const anyWayIn = WAYS_IN.some((name) => values[name] !== undefined)
  const jwtSecrets = anyWayIn
    ? present(values.AUTH_JWT_SECRET, values.AUTH_JWT_SECRET_PREVIOUS)
    : [DEVELOPMENT.AUTH_JWT_SECRET]
  const files = openFileLimit()
  const host = hostOf(values)
  const publicAddress =
    !isLoopback(host) ||
    (values.PUBLIC_URL !== undefined && !isLoopback(new URL(values.PUBLIC_URL).hostname))
  return {
    nodeEnv: values.NODE_ENV,
    production,
    host,
    port: values.PORT,
    basePath: values.BASE_PATH ?? '',
    publicUrl: values.PUBLIC_URL,
    trustProxy: values.TRUST_PROXY,
    logLevel: values.LOG_LEVEL,
    corsOrigins: values.CORS_ORIGINS ?? [],
    store: values.STORE,
    dataDir: values.DATA_DIR,
    storeSync: values.STORE_SYNC,
    redisUrl: values.REDIS_URL,
    redisPrefix: values.REDIS_PREFIX,
    redisShards: values.REDIS_SHARDS,
    redisWaitReplicas: values.REDIS_WAIT_REPLICAS,
    retentionDays: values.RETENTION_DAYS,
    retentionPerChannel: values.RETENTION_PER_CHANNEL,
    rateLimit: values.RATE_LIMIT,
    publishRate: values.PUBLISH_RATE,
    publishKeys,
    monitorKeys,
    auth: {
      jwtSecrets,
      jwksUrl: values.AUTH_JWKS_URL,
      jwtIssuer: values.AUTH_JWT_ISSUER,
      jwtAudience: values.AUTH_JWT_AUDIENCE ?? [],
      jwtUserClaim: values.AUTH_JWT_USER_CLAIM,
      jwtTopicsClaim: values.AUTH_JWT_TOPICS_CLAIM,
      cookie: values.AUTH_COOKIE,
      cookieSecrets: present(values.COOKIE_SECRET, values.COOKIE_SECRET_PREVIOUS),
      sessionUrl: values.AUTH_SESSION_URL
    },
    heartbeatMs: values.HEARTBEAT_MS,
    maxBufferedBytes: values.MAX_BUFFERED_BYTES || Number.MAX_SAFE_INTEGER,
    stallMs: values.STALL_MS,
    maxConnections:
      values.MAX_CONNECTIONS ?? (files === undefined ? 0 : Math.max(1, files - RESERVED_FILES)),
    maxConnectionsPerUser: values.MAX_CONNECTIONS_PER_USER,
    maxConnectionsPerIp: values.MAX_CONNECTIONS_PER_IP,
    maxConnectionAgeMs: values.MAX_CONNECTION_AGE_MS,
    drainMs: values.DRAIN_MS,
    alertWebhookUrl: values.ALERT_WEBHOOK_URL,
    alertWebhookSecret: values.ALERT_WEBHOOK_SECRET,
    keysInUse: keys,
    publicAddress,
    demo: keys.development.length > 0 && keys.own.length === 0 && isLoopback(host),
    warnings: [...developmentWarnings(keys, publicAddress), ...weakKeys(values)]
  }
}

function developmentWarnings({ development, own }: KeysInUse, publicAddress: boolean): string[] {
  if (development.length > 0 && own.length > 0)
    return [
      `${listed(development)} ${development.length === 1 ? 'has its' : 'have their'} development key, which everybody knows, beside your own ${listed(own)}: set ${development.length === 1 ? 'it' : 'them'} too`
    ]
  if (development.length > 0 && publicAddress)
    return [
      'The development keys, which everybody knows, are in use on an address that others reach: set NODE_ENV=production and keys of your own'
    ]
  return []
}

function freeze<T extends object>(value: T): T {
  for (const inner of Object.values(value))
    if (typeof inner === 'object' && inner !== null) freeze(inner)
  return Object.freeze(value)
}
