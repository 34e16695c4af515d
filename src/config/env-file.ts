import { readFileSync } from 'node:fs'
import path from 'node:path'
import { ConfigError } from './config-error.ts'
import { nearestName } from './misspelt.ts'
import { isSet } from './values.ts'

/** Variables by name, as `process.env` holds them. */
export type Environment = Readonly<Record<string, string | undefined>>

/** What a file `.env` sets. */
export interface EnvFile {
  /** Its absolute path. */
  readonly file: string
  readonly values: Environment
  /** One line for each entry that is not `NAME=value`; none shows a value. */
  readonly faults: readonly string[]
}

/** `NAME=`, also after `export`, up to where the value begins. */
const NAME = /^[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*=/
/** A value in quotes, which may span several lines. Only a comment may follow it. */
const QUOTED = /^[ \t]*(?:"([^"]*)"|'([^']*)'|`([^`]*)`)[ \t]*(?:#.*)?(?:\n|$)/

/** The setting that a name sets: a secret `X` may also be given as `X_FILE`. */
const settingOf = (name: string): string => name.replace(/_FILE$/, '')

/**
 * Reads the file `.env` of a folder; undefined if there is none. Throws a {@link ConfigError} if it
 * cannot be read. Node's own parser silently skips lines it does not understand; this one reports
 * them, because a dropped setting means a service with other keys than its operator thinks.
 */
export function readEnvFile(folder: string, known: readonly string[]): EnvFile | undefined {
  const file = path.resolve(folder, '.env')
  let rest: string
  try {
    rest = readFileSync(file, 'utf8')
  } catch (error) {
    const { code = 'unreadable' } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    throw new ConfigError([
      `${file} cannot be read (${code}): make it a file that this user may read, or remove it`
    ])
  }
  const values: Record<string, string> = {}
  const faults: string[] = []
  let number = 1
  rest = rest.replace(/^\uFEFF/, '').replace(/\r\n?/g, '\n')
  while (rest !== '') {
    const { length, fault, name, value } = readEntry(rest, known)
    if (fault !== undefined) faults.push(`${file} line ${number}: ${fault}`)
    else if (name !== undefined) values[name] = value
    number += rest.slice(0, length).split('\n').length - 1
    rest = rest.slice(length)
  }
  return { file, values, faults }
}

type Entry = { readonly length: number } & (
  | { readonly name: string; readonly value: string; readonly fault?: undefined }
  | { readonly name?: undefined; readonly value?: undefined; readonly fault?: string }
)

/** The first line of a text, or the lines of a value in quotes. */
function readEntry(text: string, known: readonly string[]): Entry {
  const end = text.indexOf('\n')
  const line = end < 0 ? text : text.slice(0, end)
  const length = end < 0 ? text.length : end + 1
  if (/^\s*(?:#|$)/.test(line)) return { length }
  const [head, name] = NAME.exec(line) ?? []
  if (head === undefined || name === undefined)
    return { length, fault: `write ${meantBy(line, known)}=value` }
  if (!known.includes(name)) {
    const upper = name.toUpperCase()
    const meant = known.includes(upper) ? upper : nearestName(upper, known)
    if (meant !== undefined)
      return { length, fault: `${name} is not a setting: did you mean ${meant}?` }
  }
  const quoted = QUOTED.exec(text.slice(head.length))
  if (quoted) {
    const [all, double, single, back] = quoted
    return {
      length: head.length + all.length,
      name,
      value: double?.replaceAll('\\n', '\n') ?? single ?? back ?? ''
    }
  }
  const raw = line.slice(head.length)
  const [value = ''] = raw.split(/\s#/, 1)
  if (/^\s*["'`]/.test(value))
    return {
      length,
      fault: `the value of ${name} begins with a quote: end it with the same quote, and write nothing after it`
    }
  if (value.includes('#'))
    return {
      length,
      fault: `put the value of ${name} in quotes, because it contains a #; if the # begins a comment, put a space before it`
    }
  return { length, name, value: value.trim() }
}

/**
 * The setting that a malformed line begins with, otherwise `NAME`: the line may be part of a
 * secret.
 */
function meantBy(line: string, known: readonly string[]): string {
  const word = /^\s*(?:export\s+)?(\w+)/.exec(line)?.[1]?.toUpperCase()
  return word !== undefined && known.includes(word) ? word : 'NAME'
}

/**
 * The environment, completed from a file. A setting of the environment, given directly or as
 * `_FILE`, wins.
 */
export function withEnvFile(
  environment: Environment,
  { values }: Pick<EnvFile, 'values'>
): Environment {
  const merged: Record<string, string | undefined> = { ...environment }
  const set = new Set(
    Object.keys(environment)
      .filter((name) => isSet(environment[name]))
      .map(settingOf)
  )
  for (const [name, value] of Object.entries(values))
    if (!set.has(settingOf(name))) merged[name] = value
  return merged
}
