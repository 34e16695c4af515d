import type { Invocation } from './command-line.ts'
import { readSettings } from './settings.ts'

/**
 * `bellwire --check-config`: reads the settings as `serve` would, and reports every fault and
 * warning.
 */
export function checkConfig(invocation: Invocation): void {
  const { config, file } = readSettings(invocation)
  for (const warning of config.warnings) process.stderr.write(`bellwire: warning: ${warning}\n`)
  const sources = file === undefined ? 'the environment' : `the environment, then ${file}`
  process.stdout.write(`the settings are fine: ${sources}\n`)
}
