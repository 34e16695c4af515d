import { createReadStream } from 'node:fs'
import {
  ARCHIVE_VERSION,
  ArchiveFault,
  type ArchiveRecord,
  type ArchiveTarget,
  decodeRecord
} from '../log/archive.ts'
import { openArchiveTarget } from '../stores/open-archive.ts'
import { CommandError } from './command-error.ts'
import type { Invocation } from './command-line.ts'
import { readSettings } from './settings.ts'
import { emptyTally, report, type Tally } from './tally.ts'

/** Records loaded at a time. */
const BATCH = 500

/**
 * `bellwire import [file]`: fills an empty store; without a file, or for `-`, from standard input.
 */
export async function importStore(invocation: Invocation): Promise<void> {
  const { config } = readSettings(invocation)
  const file = invocation.argument === '-' ? undefined : invocation.argument
  await report('import', async () => {
    const target = await openArchiveTarget(config)
    try {
      return await importFrom(target, file)
    } finally {
      await target.close()
    }
  })
}

const faultIn = (line: number, message: string): CommandError =>
  new CommandError(`line ${line}: ${message}`)

/**
 * Reads the lines of an export from a file, or from standard input without one. Imports all of
 * them or none. Throws a {@link CommandError} that names the line at fault.
 */
export async function importFrom(target: ArchiveTarget, file: string | undefined): Promise<Tally> {
  const tally = emptyTally()
  let number = 0
  let records = 0
  let ended = false
  let batch: ArchiveRecord[] = []
  let firstOfBatch = 2
  const load = async (): Promise<void> => {
    try {
      await target.load(batch)
    } catch (error) {
      if (error instanceof ArchiveFault) throw faultIn(firstOfBatch + error.index, error.message)
      throw error
    }
    firstOfBatch = number + 1
    batch = []
  }
  for await (const line of linesOf(file === undefined ? process.stdin : createReadStream(file))) {
    number++
    if (number === 1) checkFirst(line)
    else if (ended) throw faultIn(number, 'follows the end of the export')
    else if (line.startsWith('{"kind":"end"')) {
      checkEnd(line, number, records)
      ended = true
    } else {
      const record = readLine(line, number)
      tally[record.kind]++
      records++
      batch.push(record)
      if (batch.length === BATCH) await load()
    }
  }
  if (!ended) throw faultIn(number + 1, 'the export is truncated: its last line is missing')
  await load()
  await target.commit()
  return tally
}

function checkFirst(line: string): void {
  const version = /^\{"kind":"bellwire","version":(\d+)[,}]/.exec(line)?.[1]
  if (version === undefined) throw faultIn(1, 'is not the first line of a Bellwire export')
  if (Number(version) !== ARCHIVE_VERSION)
    throw faultIn(
      1,
      `has version ${version}, but this program reads version ${ARCHIVE_VERSION}: use the release that wrote it`
    )
}

function checkEnd(line: string, number: number, records: number): void {
  const announced = /^\{"kind":"end","records":(\d+)\}$/.exec(line)?.[1]
  if (Number(announced) !== records)
    throw faultIn(number, `announces ${announced ?? 'no'} records, but ${records} precede it`)
}

function readLine(line: string, number: number): ArchiveRecord {
  try {
    return decodeRecord(line)
  } catch (error) {
    throw faultIn(number, (error as Error).message)
  }
}

/** Splits at `\n` alone: a JSON text may contain U+2028, which `readline` takes for a line end. */
async function* linesOf(input: NodeJS.ReadableStream): AsyncGenerator<string> {
  input.setEncoding('utf8')
  let rest = ''
  for await (const chunk of input) {
    const lines = (rest + String(chunk)).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
  if (rest !== '') yield rest
}
