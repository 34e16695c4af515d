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

/** Looks into the file, also of a store that is open. */
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

/** Resolves with what is found as soon as it is as wanted, or with the last of it after some seconds, for the caller to judge. */
export async function settled<T>(find: () => T, wanted: (found: T) => boolean): Promise<T> {
  for (const end = performance.now() + 20_000; performance.now() < end && !wanted(find()); )
    await setTimeout(5)
  return find()
}

interface LifeFields {
  head: number
  boot: string
  clean: boolean
  inode: number
}

const lifePath = (dataDir: string): string => join(dataDir, 'bellwire.life')

export const readLife = (dataDir: string): LifeFields =>
  JSON.parse(readFileSync(lifePath(dataDir), 'utf8')) as LifeFields

/** Changes the proof of life as if it had been written so. */
export function writeLife(dataDir: string, fields: Partial<LifeFields>): void {
  writeFileSync(lifePath(dataDir), JSON.stringify({ ...readLife(dataDir), ...fields }))
}
