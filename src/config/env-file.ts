import { readFileSync } from 'node:fs'
import path from 'node:path'
import { parseEnv } from 'node:util'
import { isSet } from './values.ts'

/** Variables by name, as `process.env` holds them. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The same setting may stand there directly or as the path of a file. */
const settingOf = (name: string): string => name.replace(/_FILE$/, '')

/**
 * The environment and, beside it, what the file `.env` of a folder sets. The environment wins: whatever it sets, directly or as
 * `_FILE`, counts as if the file did not name it. Throws if there is such a file and it cannot be read.
 */
export function withEnvFile(environment: Environment, folder: string): Environment {
  let content: string
  try {
    content = readFileSync(path.join(folder, '.env'), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return environment
    throw error
  }
  const merged: Record<string, string | undefined> = { ...environment }
  const set = new Set(
    Object.keys(environment)
      .filter((name) => isSet(environment[name]))
      .map(settingOf)
  )
  for (const [name, value] of Object.entries(parseEnv(content.replace(/^\uFEFF/, ''))))
    if (!set.has(settingOf(name))) merged[name] = value
  return merged
}
