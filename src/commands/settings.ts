import { type Config, loadConfig, readEnvironment, type Sources } from '../config/config.ts'
import type { Invocation } from './command-line.ts'
import { PACKAGE_FOLDER } from './installed-package.ts'

/** The settings, and the file `.env` that some of them may come from. */
export interface Settings extends Pick<Sources, 'file'> {
  readonly config: Config
}

/** Reads the settings of this process. Throws `ConfigError`, with a line for each fault. */
export function readSettings(options: Pick<Invocation, 'host' | 'port'>): Settings {
  const { env, file } = readEnvironment(PACKAGE_FOLDER)
  return { config: loadConfig(env, options), file }
}
