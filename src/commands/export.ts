import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { ARCHIVE_VERSION, type ArchiveSource, encodeRecord } from '../log/archive.ts'
import { iso } from '../log/iso.ts'
import { openArchiveSource } from '../stores/open-archive.ts'
import type { Invocation } from './command-line.ts'
import { readSettings } from './settings.ts'
import { emptyTally, report, type Tally } from './tally.ts'

/**
 * `bellwire export [file]`: writes everything the store holds; without a file, or for `-`, to
 * standard output.
 */
export async function exportStore(invocation: Invocation): Promise<void> {
  const { config } = readSettings(invocation)
  const file = invocation.argument === '-' ? undefined : invocation.argument
  await report('export', async () => {
    const source = await openArchiveSource(config)
    try {
      if (source.notice !== undefined) process.stderr.write(`bellwire: ${source.notice}\n`)
      return await exportTo(source, file)
    } finally {
      await source.close()
    }
  })
}

async function exportTo(source: ArchiveSource, file: string | undefined): Promise<Tally> {
  const tally = emptyTally()
  async function* lines(): AsyncGenerator<string> {
    yield `${JSON.stringify({ kind: 'bellwire', version: ARCHIVE_VERSION, exportedAt: iso(Date.now()) })}\n`
    let records = 0
    for await (const record of source.records()) {
      tally[record.kind]++
      records++
      yield `${encodeRecord(record)}\n`
    }
    // Without this line a truncated file would look complete.
    yield `${JSON.stringify({ kind: 'end', records })}\n`
  }
  const out = file === undefined ? process.stdout : createWriteStream(file)
  await pipeline(Readable.from(lines()), out, { end: file !== undefined })
  return tally
}
