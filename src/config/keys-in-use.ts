import { isIPv4 } from 'node:net'
import type { Reading } from './read-settings.ts'
import { SETTING_NAMES, type SettingName, TABLE, type Values } from './settings.ts'
import type { NamedKey } from './values.ts'

/** The fixed keys of a start without settings. They are public; production refuses them. */
export const DEVELOPMENT = {
  PUBLISH_KEYS: 'dev-publish-key',
  MONITOR_KEYS: 'dev-monitor-key',
  AUTH_JWT_SECRET: 'dev-secret-do-not-use-in-production-0000'
} as const satisfies Partial<Record<SettingName, string>>

/** Name of the development keys of producers and operators. */
export const DEVELOPMENT_NAME = 'development'

/** True for a development key or secret: it is public and may be shown. */
export const isPublic = (value: string | undefined): boolean =>
  Object.values<string | undefined>(DEVELOPMENT).includes(value)

/** Settings of which each makes a method to authenticate subscribers, besides tickets. */
export const AUTH_METHODS = [
  'AUTH_JWT_SECRET',
  'AUTH_JWKS_URL',
  'COOKIE_SECRET',
  'AUTH_SESSION_URL'
] as const satisfies readonly SettingName[]

/** True if subscribers can authenticate with something other than the development secret. */
export const hasAuthMethod = (given: ReadonlySet<SettingName>): boolean =>
  AUTH_METHODS.some((name) => given.has(name))

/** Settings by the kind of key they hold. A list that holds both kinds is in both. */
export interface KeysInUse {
  /** Settings whose development key is in force, given or by default. */
  readonly development: readonly SettingName[]
  /**
   * Settings with a key or secret of the operator's own, or with the application's sessions or key
   * set.
   */
  readonly own: readonly SettingName[]
}

/** An address with a password in it; it neither lets callers in nor signs anything. */
const NO_KEY: ReadonlySet<SettingName> = new Set<SettingName>(['REDIS_URL'])
/** They hold no secret, but let real users in. */
const OWN_USERS: ReadonlySet<SettingName> = new Set<SettingName>([
  'AUTH_JWKS_URL',
  'AUTH_SESSION_URL'
])

/** A key, and its name if the setting gives it one. */
export type SettingKey = Pick<NamedKey, 'key'> & Partial<NamedKey>

/** The keys and secrets that a setting holds; empty if it is unset, malformed or holds none. */
export function keysOf(values: Partial<Values>, name: SettingName): readonly SettingKey[] {
  if (!TABLE[name].secret || NO_KEY.has(name)) return []
  const value = values[name]
  if (typeof value === 'string') return [{ key: value }]
  return name === 'PUBLISH_KEYS' || name === 'MONITOR_KEYS' ? (values[name] ?? []) : []
}

/**
 * Groups the secrets in use into development keys and own ones; every secret of the table counts.
 */
export function keysInUse({ values, given }: Reading): KeysInUse {
  const development: SettingName[] = []
  const own: SettingName[] = []
  for (const name of SETTING_NAMES) {
    const keys = keysOf(values, name).map(({ key }) => key)
    const byDefault =
      name in DEVELOPMENT &&
      !given.has(name) &&
      !(name === 'AUTH_JWT_SECRET' && hasAuthMethod(given))
    if (byDefault || keys.some(isPublic)) development.push(name)
    if (keys.some((key) => !isPublic(key)) || (OWN_USERS.has(name) && values[name] !== undefined))
      own.push(name)
  }
  return { development, own }
}

/**
 * True if only this machine reaches the address. Only the name localhost counts: others may resolve
 * to anything.
 */
export const isLoopback = (host: string): boolean =>
  host.toLowerCase() === 'localhost' ||
  host === '::1' ||
  host === '[::1]' ||
  (isIPv4(host) && host.startsWith('127.'))
