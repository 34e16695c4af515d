import { readFileSync } from 'node:fs'
import { ConfigError } from './config-error.ts'
import type { Environment } from './env-file.ts'
import { SETTING_NAMES, type SettingName, TABLE, type Values } from './settings.ts'
import { isQuoted, isSet } from './values.ts'

/** Options of the command line, which win over the environment. */
export interface Flags {
  readonly port?: string | number | undefined
  readonly host?: string | undefined
}

/** What was read of the settings. */
export interface Reading {
  /** The values that could be parsed, defaults included. */
  readonly values: Partial<Values>
  /** The settings that were given, also with a fault: one fault must not cause a second one. */
  readonly given: ReadonlySet<SettingName>
  /** One line for each value that could not be read. */
  readonly faults: readonly string[]
}

/** Reads and parses every setting from the command line, the environment, files and defaults. */
export function readSettings(env: Environment, flags: Flags): Reading {
  const values: Partial<Record<SettingName, unknown>> = {}
  const faults: string[] = []
  const options: Partial<Record<SettingName, string | number | undefined>> = {
    PORT: flags.port,
    HOST: flags.host
  }
  const isGiven = (name: SettingName): boolean =>
    options[name] !== undefined ||
    isSet(env[name]) ||
    (TABLE[name].secret && isSet(env[`${name}_FILE`]))
  for (const name of SETTING_NAMES) {
    try {
      const option = options[name]
      values[name] =
        option === undefined
          ? parse(name, name, isGiven(name) ? given(env, name) : TABLE[name].default)
          : parse(name, `--${name.toLowerCase()}`, String(option))
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      faults.push(...error.lines)
    }
  }
  return {
    values: values as Partial<Values>,
    given: new Set(SETTING_NAMES.filter(isGiven)),
    faults
  }
}

/** The value of a setting, which a fault calls by the name that the caller used. */
function parse(name: SettingName, called: string, text: string | undefined): unknown {
  if (text === undefined) return undefined
  const { success, data, error } = TABLE[name].schema.safeParse(bare(called, text))
  if (success) return data
  throw new ConfigError([`${called} ${error.issues[0]?.message}`])
}

/**
 * Deployment tools add white space to a value (`echo` into a file, a line that ends in CR): it is
 * cut off. Quotes, which a shell would have removed, may be meant: they are a fault.
 */
function bare(called: string, text: string): string {
  const value = text.trim()
  if (!isQuoted(value)) return value
  throw new ConfigError([
    `${called} has quotes around its value, which would become part of it: remove them`
  ])
}

/** What the environment gives, directly or in a file. */
function given(env: Environment, name: SettingName): string | undefined {
  const direct = env[name]
  const file = TABLE[name].secret ? env[`${name}_FILE`] : undefined
  if (!isSet(file)) return direct
  if (!isSet(direct)) return readSecret(`${name}_FILE`, file)
  throw new ConfigError([`${name} and ${name}_FILE are both set: remove one of them`])
}

function readSecret(called: string, file: string): string {
  let content: string
  try {
    content = readFileSync(bare(called, file), 'utf8')
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const { code = 'unreadable' } = error as NodeJS.ErrnoException
    throw new ConfigError([
      `${called} names a file that cannot be read (${code}): check its path and its permissions`
    ])
  }
  if (isSet(content)) return content
  throw new ConfigError([
    `${called} names an empty file: write the secret into it, or remove the setting`
  ])
}
