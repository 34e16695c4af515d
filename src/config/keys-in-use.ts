import { isIPv4 } from 'node:net'
import { MIN_KEY_CHARACTERS } from '../bounds/limits.ts'
import { type SettingName, TABLE, type Values } from './settings.ts'

/** The fixed keys of a start without settings. Everybody knows them; production refuses them. */
export const DEVELOPMENT = {
  PUBLISH_KEYS: 'dev-publish-key',
  MONITOR_KEYS: 'dev-monitor-key',
  AUTH_JWT_SECRET: 'dev-secret-do-not-use-in-production-0000'
} as const

/** Whether a key or secret is one that everybody knows, and may be shown. */
export const isPublic = (value: string | undefined): boolean =>
  Object.values<string | undefined>(DEVELOPMENT).includes(value)

/** Ways in for subscribers, beside tickets. */
export const WAYS_IN = [
  'AUTH_JWT_SECRET',
  'AUTH_JWKS_URL',
  'COOKIE_SECRET',
  'AUTH_SESSION_URL'
] as const satisfies SettingName[]

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
const OWN_USERS: ReadonlySet<SettingName> = new Set<SettingName>([
  'AUTH_JWKS_URL',
  'AUTH_SESSION_URL'
])

/** What a setting of keys holds, one by one; empty if it is unset or malformed. */
export function keysOf(
  values: Partial<Values>,
  name: SettingName
): readonly { readonly name?: string; readonly key: string }[] {
  if (!TABLE[name].secret || NO_KEY.has(name)) return []
  const value = values[name] as
    | string
    | readonly { readonly name: string; readonly key: string }[]
    | undefined
  return typeof value === 'string' ? [{ key: value }] : (value ?? [])
}

/** Goes through the whole table, so that a secret that is added to it counts. */
export function keysInUse(values: Partial<Values>, given: ReadonlySet<SettingName>): KeysInUse {
  const development: SettingName[] = []
  const own: SettingName[] = []
  const anyWayIn = WAYS_IN.some((name) => given.has(name))
  for (const name of Object.keys(TABLE) as SettingName[]) {
    const keys = keysOf(values, name).map(({ key }) => key)
    const byDefault =
      name in DEVELOPMENT && !given.has(name) && !(name === 'AUTH_JWT_SECRET' && anyWayIn)
    if (byDefault || keys.some(isPublic)) development.push(name)
    if (keys.some((key) => !isPublic(key)) || (OWN_USERS.has(name) && values[name] !== undefined))
      own.push(name)
  }
  return { development, own }
}

/** Of a named key its name, of a secret nothing: what a message may say of it. */
const ofWhom = (name: string | undefined): string => (name === undefined ? '' : ` of ${name}`)

/** Faults: keys that could be guessed by trying. Those that everybody knows have a fault of their own. */
export function shortKeys(values: Partial<Values>): string[] {
  return (['PUBLISH_KEYS', 'MONITOR_KEYS'] as const).flatMap((setting) =>
    keysOf(values, setting)
      .filter(({ key }) => key.length < MIN_KEY_CHARACTERS && !isPublic(key))
      .map(
        ({ name }) =>
          `${setting}: the key${ofWhom(name)} has fewer than ${MIN_KEY_CHARACTERS} characters; make one with: openssl rand -hex 24`
      )
  )
}

/** What documentation and examples hold in the place of a secret, and what people type when one is asked for. */
const WELL_KNOWN =
  /change[-_ ]?(?:me|this|it)|replace[-_ ]?(?:me|this|with)|(?:my|your)[-_ ]?(?:[a-z0-9]+[-_ ])*(?:secret|key|password|token)|placeholder|example|pass[-_ ]?w(?:or)?d|qwerty|letmein|^(?:secret|default|admin|abcdef|123456|0123456)/i

/** The same few characters over and over; a random key of that length does not look like it. */
const isRepetitive = (key: string): boolean =>
  /^(.+?)\1+$/s.test(key) || new Set(key).size < Math.min(6, key.length)

/** Warnings: keys and secrets that are long enough, and yet the first that somebody would try. */
export function weakKeys(values: Partial<Values>): string[] {
  return (Object.keys(TABLE) as SettingName[]).flatMap((setting) =>
    keysOf(values, setting)
      .filter(({ key }) => !isPublic(key) && (WELL_KNOWN.test(key) || isRepetitive(key)))
      .map(
        ({ name }) =>
          `${setting}: the key${ofWhom(name)} looks guessable: it is well known or repeats itself; make one with: openssl rand -hex 32`
      )
  )
}

/** Whether only this machine reaches the address. A name other than localhost may resolve to anything, and counts as public. */
export const isLoopback = (host: string): boolean =>
  host.toLowerCase() === 'localhost' ||
  host === '::1' ||
  host === '[::1]' ||
  (isIPv4(host) && host.startsWith('127.'))
