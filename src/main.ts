#!/usr/bin/env node
import { backup } from './commands/backup.ts'
import { checkConfig } from './commands/check-config.ts'
import { CommandError } from './commands/command-error.ts'
import { type Command, readCommandLine } from './commands/command-line.ts'
import { exportStore } from './commands/export.ts'
import { help, version } from './commands/help.ts'
import { importStore } from './commands/import.ts'
import { serve } from './commands/serve.ts'
import { token } from './commands/token.ts'
import type { CommandName } from './commands/usage.ts'
import { ConfigError } from './config/config.ts'
import { StoreOpenError } from './stores/store-open-error.ts'

const COMMANDS: Readonly<Record<CommandName, Command>> = {
  serve,
  'check-config': checkConfig,
  token,
  export: exportStore,
  backup,
  import: importStore,
  help,
  version
}

try {
  const { name, ...invocation } = readCommandLine(process.argv.slice(2))
  await COMMANDS[name](invocation)
} catch (error) {
  if (error instanceof CommandError || error instanceof ConfigError) fail(error.lines)
  if (error instanceof StoreOpenError) fail([error.message])
  throw error
}

/** What an operator can mend takes a line each; any other error shows its stack. */
function fail(lines: readonly string[]): never {
  for (const line of lines) process.stderr.write(`bellwire: ${line}\n`)
  process.exit(1)
}
