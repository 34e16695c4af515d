import { backUpStore } from '../stores/open-archive.ts'
import { CommandError } from './command-error.ts'
import type { Invocation } from './command-line.ts'
import { readSettings } from './settings.ts'

/**
 * `bellwire backup <file>`: copies the embedded database to a new file, even while the service
 * runs.
 */
export async function backup(invocation: Invocation): Promise<void> {
  const { config } = readSettings(invocation)
  const { argument: file } = invocation
  if (file === undefined)
    throw new CommandError('backup <file>: name the file to write the copy to')
  const bytes = await backUpStore(config, file)
  process.stderr.write(`bellwire: ${file}: written and synced, ${(bytes / 1e6).toFixed(1)} MB\n`)
}
