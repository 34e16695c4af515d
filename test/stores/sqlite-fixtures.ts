import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { openDatabase, type Row } from '../../src/stores/sqlite/driver.ts'

export const DAY_MS = 24 * 60 * 60 * 1000

/** Changes the file of a store that is closed. */
export function edit(dataDir: string, sql: string): void {
  const db = openDatabase(join(dataDir, 'bellwire.db'))
  db.exec(sql)
  db.close()
}

/** Reads from the file, even while the store is open. */
export function rows(dataDir: string, sql: string): Row[] {
  const db = openDatabase(join(dataDir, 'bellwire.db'), { readOnly: true, timeout: 1000 })
  try {
    return db.prepare(sql).all()
  } finally {
    db.close()
  }
}

export const countOf = (dataDir: string, table: string): number =>
  Number(rows(dataDir, `SELECT count(*) AS n FROM ${table}`)[0]?.['n'])

/** Resolves with the first result that is wanted, or with the last one after 20 seconds. */
export async function settled<T>(find: () => T, wanted: (found: T) => boolean): Promise<T> {
  for (const end = performance.now() + 20_000; performance.now() < end && !wanted(find()); )
    await setTimeout(5)
  return find()
}

interface StateFields {
  head: number
  boot: string
  clean: boolean
  inode: number
}

const statePath = (dataDir: string): string => join(dataDir, 'bellwire.life')

export const readState = (dataDir: string): StateFields =>
  JSON.parse(readFileSync(statePath(dataDir), 'utf8')) as StateFields

/** Changes fields of the state file. */
export function writeState(dataDir: string, fields: Partial<StateFields>): void {
  writeFileSync(statePath(dataDir), JSON.stringify({ ...readState(dataDir), ...fields }))
}
