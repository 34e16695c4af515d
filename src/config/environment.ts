import path from 'node:path'
import { ConfigError } from './config-error.ts'
import { type Environment, readEnvFile, withEnvFile } from './env-file.ts'
import { nearestName } from './misspelt.ts'
import { SETTINGS } from './settings.ts'
import { isSet } from './values.ts'

/** Where the settings come from. */
export interface Sources {
  readonly env: Environment
  /** The absolute path of the file `.env` that was read; undefined if there is none. */
  readonly file: string | undefined
}

/** Every name that counts: each setting, and for a secret the name of its file. */
const KNOWN = SETTINGS.flatMap(({ name, secret }) => (secret ? [name, `${name}_FILE`] : [name]))

/**
 * The environment of this process and, in a clone of the repository, the file `.env` beside
 * `package.json`. The working directory does not matter: a cron job that runs `backup` must find
 * the settings of the service. In an installed package no `.env` is read: beside it are the
 * package's files, and the working directory belongs to another program. Throws a {@link
 * ConfigError} if the file cannot be read or has a malformed line.
 */
export function readEnvironment(packageFolder: string): Sources {
  if (packageFolder.split(path.sep).includes('node_modules'))
    return { env: process.env, file: undefined }
  const found = readEnvFile(packageFolder, KNOWN)
  if (found === undefined) return { env: process.env, file: undefined }
  if (found.faults.length > 0) throw new ConfigError(found.faults)
  return { env: withEnvFile(process.env, found), file: found.file }
}

/** A fault for each variable whose name looks like a setting with a slip in it. */
export function misspeltNames(env: Environment, authMethods: readonly string[]): string[] {
  const names = new Set(KNOWN)
  const isGiven = (name: string): boolean => isSet(env[name]) || isSet(env[`${name}_FILE`])
  return Object.keys(env).flatMap((name) => {
    if (names.has(name) || !isSet(env[name])) return []
    const nearest = nearestName(name, KNOWN)
    if (nearest === undefined) return []
    // If the setting is there too, JWT_SECRET without our prefix belongs to another program.
    const setting = nearest.replace(/_FILE$/, '')
    const alternatives = authMethods.includes(setting) ? authMethods : [setting]
    if (nearest === `AUTH_${name}` && alternatives.some(isGiven)) return []
    return [`${name} is not a setting: did you mean ${nearest}?`]
  })
}
