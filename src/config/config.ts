import { RESERVED_FILES } from '../bounds/limits.ts'
import { ConfigError } from './config-error.ts'
import { contradictions } from './contradictions.ts'
import type { Environment } from './env-file.ts'
import { misspeltNames } from './environment.ts'
import { developmentWarnings, mixedKeyFaults, productionFaults, weakKeys } from './key-checks.ts'
import {
  AUTH_METHODS,
  DEVELOPMENT,
  DEVELOPMENT_NAME,
  hasAuthMethod,
  isLoopback,
  type KeysInUse,
  keysInUse
} from './keys-in-use.ts'
import { openFileLimit } from './open-files.ts'
import { type Flags, readSettings } from './read-settings.ts'
import { SETTING_NAMES, type SettingName, type Values } from './settings.ts'
import type { NamedKey } from './values.ts'

export { ConfigError } from './config-error.ts'
export { readEnvironment, type Sources } from './environment.ts'
export { isPublic } from './keys-in-use.ts'
export type { KeyScopes, Scope } from './scopes.ts'
export { SETTINGS, type Setting } from './settings.ts'
export type { NamedKey, TrustProxy } from './values.ts'

/** `HEARTBEAT_MS` → `heartbeatMs`. */
type CamelCase<N extends string> = N extends `${infer Head}_${infer Tail}`
  ? `${Lowercase<Head>}${Capitalize<CamelCase<Tail>>}`
  : Lowercase<N>

/** Values under the names that code uses, without a prefix of the setting. */
type Named<N extends SettingName, Prefix extends string> = {
  readonly [K in N as K extends `${Prefix}${infer Rest}` ? CamelCase<Rest> : never]: Values[K]
}

/** Secrets in pairs, current and previous: `Config` has them as lists. */
type Rotating = `${'AUTH_JWT' | 'COOKIE'}_SECRET${'' | '_PREVIOUS'}`
type AuthSetting = Exclude<Extract<SettingName, `AUTH_${string}`>, Rotating>
type PlainSetting = Exclude<SettingName, AuthSetting | Rotating>

/** How subscribers authenticate: every setting `AUTH_…`, and the secrets. */
export interface AuthConfig extends Named<AuthSetting, 'AUTH_'> {
  /**
   * HS256 secrets, the current one first; empty if JWTs are not accepted or verified by a key set.
   */
  readonly jwtSecrets: readonly string[]
  /** Secrets of signed cookies, the current one first; empty if they are not accepted. */
  readonly cookieSecrets: readonly string[]
}

/**
 * The settings, checked and frozen: each row of the table under its name in camel case, and what
 * follows from several. Durations are milliseconds; a limit of 0 is off.
 */
export interface Config extends Named<PlainSetting, ''> {
  /** True if NODE_ENV is production. */
  readonly production: boolean
  /** HOST, or the default of the environment. */
  readonly host: string
  /** MAX_CONNECTIONS, or as many as the open-file limit allows. */
  readonly maxConnections: number
  /** PUBLISH_KEYS, or the development key. */
  readonly publishKeys: readonly NamedKey[]
  /** MONITOR_KEYS, or the development key. */
  readonly monitorKeys: readonly NamedKey[]
  readonly auth: AuthConfig
  /** Settings whose development key is in force, and settings with the operator's own keys. */
  readonly keysInUse: KeysInUse
  /** True if other machines reach the service: through HOST, or through a proxy at PUBLIC_URL. */
  readonly publicAddress: boolean
  /** True if the demo may be served: every key is a development key, and HOST is loopback. */
  readonly demo: boolean
  /** What works but must not stay, one line each, without the value of a secret. */
  readonly warnings: readonly string[]
}

/** Reads the settings, or throws a {@link ConfigError} that lists every fault at once. */
export function loadConfig(env: Environment, flags: Flags = {}): Config {
  const reading = readSettings(env, flags)
  const { values, given } = reading
  const keys = keysInUse(reading)
  const faults = [
    ...reading.faults,
    ...misspeltNames(env, AUTH_METHODS),
    ...contradictions(reading),
    ...(values.NODE_ENV === 'production'
      ? productionFaults(reading, keys)
      : mixedKeyFaults(keys, !isLoopback(hostOf(values))))
  ]
  if (faults.length > 0) throw new ConfigError(faults)
  // Without a fault every value is there.
  return freeze(assemble(values as Values, keys, hasAuthMethod(given)))
}

const hostOf = ({ HOST, NODE_ENV }: Partial<Values>): string =>
  HOST ?? (NODE_ENV === 'production' ? '0.0.0.0' : '127.0.0.1')

const ROTATING: readonly string[] = [
  'AUTH_JWT_SECRET',
  'AUTH_JWT_SECRET_PREVIOUS',
  'COOKIE_SECRET',
  'COOKIE_SECRET_PREVIOUS'
] satisfies Rotating[]
const isAuth = (name: SettingName): name is AuthSetting =>
  name.startsWith('AUTH_') && !ROTATING.includes(name)
const isPlain = (name: SettingName): name is PlainSetting =>
  !isAuth(name) && !ROTATING.includes(name)

const camelCase = (name: string): string =>
  name.toLowerCase().replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())

function named<N extends SettingName, Prefix extends string>(
  values: Values,
  names: readonly N[],
  prefix: Prefix
): Named<N, Prefix> {
  return Object.fromEntries(
    names.map((name) => [camelCase(name.slice(prefix.length)), values[name]])
  ) as Named<N, Prefix>
}

const present = (...secrets: (string | undefined)[]): string[] =>
  secrets.filter((secret) => secret !== undefined)

function assemble(values: Values, keys: KeysInUse, authMethod: boolean): Config {
  const host = hostOf(values)
  const files = openFileLimit()
  const publicAddress =
    !isLoopback(host) ||
    (values.PUBLIC_URL !== undefined && !isLoopback(new URL(values.PUBLIC_URL).hostname))
  const development = (key: string): NamedKey[] => [{ name: DEVELOPMENT_NAME, key }]
  return {
    ...named(values, SETTING_NAMES.filter(isPlain), ''),
    production: values.NODE_ENV === 'production',
    host,
    maxConnections:
      values.MAX_CONNECTIONS ?? (files === undefined ? 0 : Math.max(1, files - RESERVED_FILES)),
    publishKeys: values.PUBLISH_KEYS ?? development(DEVELOPMENT.PUBLISH_KEYS),
    monitorKeys: values.MONITOR_KEYS ?? development(DEVELOPMENT.MONITOR_KEYS),
    auth: {
      ...named(values, SETTING_NAMES.filter(isAuth), 'AUTH_'),
      jwtSecrets: authMethod
        ? present(values.AUTH_JWT_SECRET, values.AUTH_JWT_SECRET_PREVIOUS)
        : [DEVELOPMENT.AUTH_JWT_SECRET],
      cookieSecrets: present(values.COOKIE_SECRET, values.COOKIE_SECRET_PREVIOUS)
    },
    keysInUse: keys,
    publicAddress,
    demo: keys.development.length > 0 && keys.own.length === 0 && isLoopback(host),
    warnings: [...developmentWarnings(keys, publicAddress), ...weakKeys(values)]
  }
}

function freeze<T extends object>(value: T): T {
  for (const inner of Object.values(value))
    if (typeof inner === 'object' && inner !== null) freeze(inner)
  return Object.freeze(value)
}
