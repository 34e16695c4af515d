import { readFileSync } from 'node:fs'
import path from 'node:path'
import { nearestName } from './misspelt.ts'
import { isSet } from './values.ts'

/** Variables by name, as `process.env` holds them. */
export type Environment = Readonly<Record<string, string | undefined>>

/** What a file `.env` sets. */
export interface EnvFile {
  /** Its absolute path. */
  readonly file: string
  readonly values: Environment
  /** What cannot be read as `NAME=value`, one line each; no value of a setting is in it. */
  readonly faults: readonly string[]
}

/** `NAME=`, also behind `export`, and where the value begins. */
const NAME = /^[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*=/
/** A value in quotes may go over several lines. Nothing but a comment follows it. */
const QUOTED = /^[ \t]*(?:"([^"]*)"|'([^']*)'|`([^`]*)`)[ \t]*(?:#.*)?(?:\n|$)/

/** The same setting may stand there directly or as the path of a file. */
const settingOf = (name: string): string => name.replace(/_FILE$/, '')

/**
 * Reads the file `.env` of a folder; undefined if there is none. Throws if it cannot be read. Unlike the parser of Node it skips
 * nothing that it does not understand: a setting that is dropped in silence is a service with other keys than its operator thinks.
 */
export function readEnvFile(folder: string, known: readonly string[]): EnvFile | undefined {
  const file = path.resolve(folder, '.env')
  let rest: string
  try {
    rest = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
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

/** The line at the beginning of a text, or the lines of a value in quotes. */
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
      fault: `the value of ${name} begins with a quote: end it with the same one, and write nothing behind it`
    }
  if (value.includes('#'))
    return {
      length,
      fault: `put the value of ${name} in quotes, since it holds a #; before a comment write a space`
    }
  return { length, name, value: value.trim() }
}

/** The setting that a malformed line begins with. Of any other line nothing is shown: it may be a piece of a secret. */
function meantBy(line: string, known: readonly string[]): string {
  const word = /^\s*(?:export\s+)?(\w+)/.exec(line)?.[1]?.toUpperCase()
  return word !== undefined && known.includes(word) ? word : 'NAME'
}

/** The environment and what a file sets beside it. Whatever the environment sets, directly or as `_FILE`, it wins. */
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
