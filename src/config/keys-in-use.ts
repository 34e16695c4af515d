import { isIPv4 } from 'node:net'
import { type SettingName, TABLE, type Values } from './settings.ts'

/** The fixed keys of a start without settings. Everybody knows them; production refuses them. */
export const DEVELOPMENT = {
  PUBLISH_KEYS: 'dev-publish-key',
  MONITOR_KEYS: 'dev-monitor-key',
  AUTH_JWT_SECRET: 'dev-secret-do-not-use-in-production-0000'
} as const

/** Whether a key or secret is one that everybody knows, and may be shown. */
export const isPublic = (value: string | undefined): boolean => Object.values<string | undefined>(DEVELOPMENT).includes(value)

/** Ways in for subscribers, beside tickets. */
export const WAYS_IN = ['AUTH_JWT_SECRET', 'AUTH_JWKS_URL', 'COOKIE_SECRET', 'AUTH_SESSION_URL'] as const satisfies SettingName[]

/** Settings by what their keys and secrets are worth. A setting whose list holds both kinds stands in both. */
export interface KeysInUse {
  /** Whose development key is in force, given or by default. */
  readonly development: readonly SettingName[]
  /** Which hold a key or secret of the operator's own, or name the application's own sessions or key set. */
  readonly own: readonly SettingName[]
}

/** An address with a password in it, not a secret that lets callers in or signs. */
const NO_KEY: ReadonlySet<SettingName> = new Set<SettingName>(['REDIS_URL'])
/** They hold no secret, and let real users in. */
const OWN_USERS: ReadonlySet<SettingName> = new Set<SettingName>(['AUTH_JWKS_URL', 'AUTH_SESSION_URL'])

/** What a setting of keys holds, one by one; empty if it is unset or malformed. */
export function keysOf(values: Partial<Values>, name: SettingName): readonly { readonly name?: string; readonly key: string }[] {
  if (!TABLE[name].secret || NO_KEY.has(name)) return []
  const value = values[name] as string | readonly { readonly name: string; readonly key: string }[] | undefined
  return typeof value === 'string' ? [{ key: value }] : (value ?? [])
}

/** Goes through the whole table, so that a secret that is added to it counts. */
export function keysInUse(values: Partial<Values>, given: ReadonlySet<SettingName>): KeysInUse {
  const development: SettingName[] = []
  const own: SettingName[] = []
  const anyWayIn = WAYS_IN.some((name) => given.has(name))
  for (const name of Object.keys(TABLE) as SettingName[]) {
    const keys = keysOf(values, name).map(({ key }) => key)
    const byDefault = name in DEVELOPMENT && !given.has(name) && !(name === 'AUTH_JWT_SECRET' && anyWayIn)
    if (byDefault || keys.some(isPublic)) development.push(name)
    if (keys.some((key) => !isPublic(key)) || (OWN_USERS.has(name) && values[name] !== undefined)) own.push(name)
  }
  return { development, own }
}

/** Whether only this machine reaches the address. A name other than localhost may resolve to anything, and counts as public. */
export const isLoopback = (host: string): boolean =>
  host.toLowerCase() === 'localhost' || host === '::1' || host === '[::1]' || (isIPv4(host) && host.startsWith('127.'))
