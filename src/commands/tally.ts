import type { ArchiveRecord } from '../log/archive.ts'
import { StoreOpenError } from '../stores/store-open-error.ts'
import { CommandError } from './command-error.ts'

/** How many records of each kind an export or import has handled. */
export type Tally = Record<ArchiveRecord['kind'], number>

/** A tally before the first record. */
export const emptyTally = (): Tally => ({
  notification: 0,
  mark: 0,
  'idempotency-key': 0,
  revocation: 0
})

/** Runs an export or import and prints its tally. Throws a {@link CommandError} if it fails. */
export async function report(name: 'export' | 'import', run: () => Promise<Tally>): Promise<void> {
  try {
    const { notification, mark } = await run()
    process.stderr.write(`bellwire: ${notification} notifications and ${mark} marks ${name}ed\n`)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (error instanceof CommandError || error instanceof StoreOpenError) throw error
    if (code === 'EPIPE') throw new CommandError('the reader of the export closed the pipe')
    throw new CommandError(`the ${name} failed: ${message}`)
  }
}
