import { createReadStream, createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import {
  ARCHIVE_VERSION,
  ArchiveFault,
  type ArchiveRecord,
  type ArchiveSource,
  type ArchiveTarget,
  decodeRecord,
  encodeRecord
} from '../log/archive.ts'

/** Records handed over at a time. */
const BATCH = 500

/** How many there were of each kind. */
export type Tally = Readonly<Record<ArchiveRecord['kind'], number>>

/** A line that cannot be imported; nothing was. */
export class ImportError extends Error {
  constructor(line: number, message: string) {
    super(`line ${line}: ${message}`)
    this.name = 'ImportError'
  }
}

const nothing = (): Record<ArchiveRecord['kind'], number> => ({
  notification: 0,
  mark: 0,
  'idempotency-key': 0,
  revocation: 0
})

/** Writes everything as lines of JSON to a file, or where there is none to the standard output. */
export async function exportTo(source: ArchiveSource, file: string | undefined): Promise<Tally> {
  const tally = nothing()
  async function* lines(): AsyncGenerator<string> {
    yield `${JSON.stringify({ kind: 'bellwire', version: ARCHIVE_VERSION, exportedAt: new Date().toISOString() })}\n`
    let records = 0
    for await (const record of source.records()) {
      tally[record.kind]++
      records++
      yield `${encodeRecord(record)}\n`
    }
    // Without it a file that was cut off would look whole.
    yield `${JSON.stringify({ kind: 'end', records })}\n`
  }
  const out = file === undefined ? process.stdout : createWriteStream(file)
  await pipeline(Readable.from(lines()), out, { end: file !== undefined })
  return tally
}

/** Reads the lines of an export from a file, or where there is none from the standard input. Everything, or nothing. */
export async function importFrom(target: ArchiveTarget, file: string | undefined): Promise<Tally> {
  const tally = nothing()
  let number = 0
  let records = 0
  let ended = false
  let batch: ArchiveRecord[] = []
  let firstOfBatch = 2
  const load = async (): Promise<void> => {
    try {
      await target.load(batch)
    } catch (error) {
      if (error instanceof ArchiveFault)
        throw new ImportError(firstOfBatch + error.index, error.message)
      throw error
    }
    firstOfBatch = number + 1
    batch = []
  }
  for await (const line of linesOf(file === undefined ? process.stdin : createReadStream(file))) {
    number++
    if (number === 1) checkFirst(line)
    else if (ended) throw new ImportError(number, 'stands behind the end of the export')
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
  if (!ended)
    throw new ImportError(number + 1, 'the export ends too early: its last line is missing')
  await load()
  await target.commit()
  return tally
}

function checkFirst(line: string): void {
  const version = /^\{"kind":"bellwire","version":(\d+)[,}]/.exec(line)?.[1]
  if (version === undefined)
    throw new ImportError(1, 'is not the beginning of an export of Bellwire')
  if (Number(version) !== ARCHIVE_VERSION) {
    throw new ImportError(
      1,
      `is of version ${version}, and this program reads ${ARCHIVE_VERSION}: use the version that wrote it`
    )
  }
}

function checkEnd(line: string, number: number, records: number): void {
  const told = /^\{"kind":"end","records":(\d+)\}$/.exec(line)?.[1]
  if (Number(told) !== records)
    throw new ImportError(
      number,
      `tells of ${told ?? 'no'} records, and ${records} stand before it`
    )
}

function readLine(line: string, number: number): ArchiveRecord {
  try {
    return decodeRecord(line)
  } catch (error) {
    throw new ImportError(number, (error as Error).message)
  }
}

/** Lines by their ends alone: a JSON text may hold U+2028, which others take for one. */
async function* linesOf(input: NodeJS.ReadableStream): AsyncGenerator<string> {
  input.setEncoding('utf8')
  let rest = ''
  for await (const chunk of input) {
    const lines = (rest + String(chunk)).split('\n')
    rest = lines.pop()!
    yield* lines
  }
  if (rest !== '') yield rest
}
