import { MIN_KEY_CHARACTERS } from '../bounds/limits.ts'
import {
  AUTH_METHODS,
  hasAuthMethod,
  isPublic,
  type KeysInUse,
  keysOf,
  type SettingKey
} from './keys-in-use.ts'
import type { Reading } from './read-settings.ts'
import { SETTING_NAMES, type SettingName, type Values } from './settings.ts'

const listed = (names: readonly SettingName[]): string => names.join(', ')

/** What keeps a service from starting in production: missing, public or guessable keys. */
export function productionFaults({ values, given }: Reading, { development }: KeysInUse): string[] {
  const faults: string[] = []
  if (!given.has('PUBLISH_KEYS'))
    faults.push('PUBLISH_KEYS is required in production: set name:key for each producer')
  if (!given.has('MONITOR_KEYS'))
    faults.push('MONITOR_KEYS is required in production: set a key for the operators')
  if (!hasAuthMethod(given))
    faults.push(
      `an auth method for subscribers is required in production: set one of ${listed(AUTH_METHODS)}`
    )
  for (const name of development.filter((one) => given.has(one)))
    faults.push(`${name} holds the development key, which is public: set your own in production`)
  return [...faults, ...shortKeys(values)]
}

/**
 * A public development key together with real users or data, on an address that others reach. A
 * deployment that forgot a setting looks like this; a trial does not.
 */
export function mixedKeyFaults({ development, own }: KeysInUse, reachable: boolean): string[] {
  if (development.length === 0 || own.length === 0 || !reachable) return []
  return [
    `${listed(development)} would have the development key, which is public, beside your own ${listed(own)}, on an address that others reach: set ${development.length === 1 ? 'it' : 'them'} too, or listen on HOST=127.0.0.1`
  ]
}

/** What works, but must change: development keys together with own ones, or on a public address. */
export function developmentWarnings(
  { development, own }: KeysInUse,
  publicAddress: boolean
): string[] {
  if (development.length === 0) return []
  const [have, them] = development.length === 1 ? ['has its', 'it'] : ['have their', 'them']
  if (own.length > 0)
    return [
      `${listed(development)} ${have} development key, which is public, beside your own ${listed(own)}: set ${them} too`
    ]
  if (publicAddress)
    return [
      'The development keys, which are public, are in use on an address that others reach: set NODE_ENV=production and your own keys'
    ]
  return []
}

/** A message names a key by its name; it never shows a secret. */
const ofWhom = ({ name }: SettingKey): string => (name === undefined ? '' : ` of ${name}`)

/** Keys that can be found by trying. Public ones have a fault of their own. */
function shortKeys(values: Partial<Values>): string[] {
  return (['PUBLISH_KEYS', 'MONITOR_KEYS'] as const).flatMap((setting) =>
    keysOf(values, setting)
      .filter(({ key }) => key.length < MIN_KEY_CHARACTERS && !isPublic(key))
      .map(
        (one) =>
          `${setting}: the key${ofWhom(one)} has fewer than ${MIN_KEY_CHARACTERS} characters; make one with: openssl rand -hex 24`
      )
  )
}

/** Placeholders of documentation and examples, and what people type when asked for a secret. */
const WELL_KNOWN =
  /change[-_ ]?(?:me|this|it)|replace[-_ ]?(?:me|this|with)|(?:my|your)[-_ ]?(?:[a-z0-9]+[-_ ])*(?:secret|key|password|token)|placeholder|example|pass[-_ ]?w(?:or)?d|qwerty|letmein|^(?:secret|default|admin|abcdef|123456|0123456)/i

/** The same few characters again and again, which a random key of that length does not have. */
const isRepetitive = (key: string): boolean =>
  /^(.+?)\1+$/s.test(key) || new Set(key).size < Math.min(6, key.length)

/** Warnings about keys and secrets that are long enough, but among the first to be tried. */
export function weakKeys(values: Partial<Values>): string[] {
  return SETTING_NAMES.flatMap((setting) =>
    keysOf(values, setting)
      .filter(({ key }) => !isPublic(key) && (WELL_KNOWN.test(key) || isRepetitive(key)))
      .map(
        (one) =>
          `${setting}: the key${ofWhom(one)} looks guessable: it is well known or repeats itself; make one with: openssl rand -hex 32`
      )
  )
}
