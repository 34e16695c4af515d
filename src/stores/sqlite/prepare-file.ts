import { mkdirSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { MAX_FENCES, MAX_PAST_EPOCHS } from '../../bounds/limits.ts'
import type { Fence } from '../fences.ts'
import { StoreOpenError } from '../store-open-error.ts'
import { type Database, openDatabase, SQLITE, sqliteCode } from './driver.ts'
import { leapFrom } from './leap.ts'
import { takeLock } from './lock.ts'
import { drawWord, Life } from './restore-detector.ts'
import { APPLICATION_ID, migrate, SCHEMA_VERSION, schemaVersion } from './schema.ts'

/** Above this a check of the whole file would hold up the start for too long. */
const CHECKED_BYTES = 1024 ** 3

/** A database that is ours, sound, of this version, locked, and whose epoch is settled. */
export interface PreparedFile {
  readonly path: string
  readonly lock: Database
  readonly life: Life
  readonly epoch: string
  readonly head: number
  readonly floor: number
  /** Place that the first event of this life comes after; null in a new log. */
  readonly leap: number | null
  readonly fences: readonly Fence[]
  /** Epochs that the log had, and how far it had come when each ended. */
  readonly pastEpochs: ReadonlyMap<string, number>
  /** True if an earlier state was found, which is why the epoch is new. */
  readonly putBack: boolean
}

/** Does all that has to be done, and may be refused, before the writer starts. */
export function prepareFile(dataDir: string, sync: 'full' | 'normal'): PreparedFile {
  try {
    makeDirectory(resolve(dataDir))
  } catch (error) {
    throw new StoreOpenError(
      `${dataDir}: cannot be created (${(error as Error).message}); set DATA_DIR to a directory that is writable`,
      { cause: error }
    )
  }
  const path = join(dataDir, 'bellwire.db')
  const lock = takeLock(join(dataDir, 'bellwire.lock'))
  let db: Database | undefined
  try {
    db = openDatabase(path, { timeout: 5000 })
    check(db, path)
    db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${sync}`)
    migrate(db)
    return { path, lock, ...settleEpoch(db, path, dataDir, sync) }
  } catch (error) {
    lock.close()
    throw error instanceof StoreOpenError ? error : explain(error, path)
  } finally {
    db?.close()
  }
}

/** Step by step: the recursive one of Node 20 spins for ever if a parent exists in which nothing can be made, as in /proc. */
function makeDirectory(path: string): void {
  const isThere = (): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
  if (isThere()) return
  makeDirectory(dirname(path))
  try {
    mkdirSync(path)
  } catch (error) {
    // Another process may have made it meanwhile.
    if (!isThere()) throw error
  }
}

function check(db: Database, path: string): void {
  const id = db.prepare('PRAGMA application_id').get()?.['application_id']
  const empty = db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.['n'] === 0
  if (id !== APPLICATION_ID && !(id === 0 && empty)) throw foreign(path)
  const version = empty ? 0 : schemaVersion(db)
  if (version > SCHEMA_VERSION) {
    throw new StoreOpenError(
      `${path}: was written by a newer version (schema ${version}, this one knows ${SCHEMA_VERSION}); start that version, or set DATA_DIR elsewhere`
    )
  }
  if (statSync(path).size >= CHECKED_BYTES) return
  const verdict = db.prepare('PRAGMA quick_check(1)').get()?.['quick_check']
  if (verdict !== 'ok') throw damaged(path, String(verdict).split('\n')[0] ?? '')
}

function settleEpoch(
  db: Database,
  path: string,
  dataDir: string,
  sync: 'full' | 'normal'
): Omit<PreparedFile, 'path' | 'lock'> {
  const read = db.prepare('SELECT v FROM meta WHERE k = ?')
  const write = db.prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)')
  const head = Number(read.get('head')?.['v'])
  const lastLife = (read.get('life')?.['v'] as string | undefined) ?? null
  const lastEpoch = read.get('epoch')?.['v'] as string | undefined
  const life = new Life(join(dataDir, 'bellwire.life'), path, sync)
  const keeps = lastEpoch !== undefined && life.unbroken({ life: lastLife, head })
  const epoch = keeps ? lastEpoch : drawWord()
  // The file first, naming both tokens, and once more when the new one is in the database: an end at any point between is survived.
  // Where the life is broken the file must not vouch for the old token: an end before the commit has to be found again.
  if (keeps) life.write(head, { previous: lastLife })
  db.exec('BEGIN IMMEDIATE')
  write.run('epoch', epoch)
  write.run('life', life.token)
  if (lastEpoch !== undefined && !keeps)
    db.prepare('INSERT OR REPLACE INTO past_epoch VALUES (?, ?)').run(lastEpoch, head)
  const known = trimHistory(db)
  db.exec('COMMIT')
  life.write(head)
  // What is not seen here may have been appended nonetheless, by a life of which only the beginning was put back.
  const leap = lastEpoch === undefined ? null : leapFrom(head, Date.now())
  return { life, epoch, head, leap, putBack: lastEpoch !== undefined && !keeps, ...known }
}

/** Forgets fences and epochs that no cursor can lead to any more, and the oldest of too many. */
function trimHistory(db: Database): Pick<PreparedFile, 'floor' | 'fences' | 'pastEpochs'> {
  const floor = db.prepare("SELECT v FROM meta WHERE k = 'floor'")
  const beyond = db
    .prepare('SELECT top FROM fence ORDER BY tail DESC LIMIT 1 OFFSET ?')
    .get(MAX_FENCES - 1)
  if (beyond) db.prepare("UPDATE meta SET v = max(v, ?) WHERE k = 'floor'").run(beyond['top']!)
  db.exec("DELETE FROM fence WHERE top <= (SELECT v FROM meta WHERE k = 'floor')")
  db.prepare(
    `DELETE FROM past_epoch WHERE tail < (SELECT v FROM meta WHERE k = 'floor')
     OR epoch NOT IN (SELECT epoch FROM past_epoch ORDER BY tail DESC LIMIT ?)`
  ).run(MAX_PAST_EPOCHS)
  const fences = db.prepare('SELECT tail, top FROM fence ORDER BY tail').all()
  const pastEpochs = db.prepare('SELECT epoch, tail FROM past_epoch').all()
  return {
    floor: Number(floor.get()?.['v']),
    fences: fences.map(({ tail, top }) => ({ tail: Number(tail), top: Number(top) })),
    pastEpochs: new Map(pastEpochs.map(({ epoch, tail }) => [epoch as string, Number(tail)]))
  }
}

const foreign = (path: string): StoreOpenError =>
  new StoreOpenError(
    `${path}: is not a Bellwire database; move it away, or set DATA_DIR to another directory`
  )

const damaged = (path: string, what: string): StoreOpenError =>
  new StoreOpenError(
    `${path}: is damaged (${what}); restore it from a backup, or move it away to start empty`
  )

function explain(error: unknown, path: string): unknown {
  const { message } = error as Error
  switch (sqliteCode(error)) {
    case SQLITE.notadb:
      return foreign(path)
    case SQLITE.corrupt:
      return damaged(path, message)
    case SQLITE.full:
      return new StoreOpenError(`${path}: the disk is full; free some space`, { cause: error })
    case undefined:
      return new StoreOpenError(`${path}: cannot be opened (${message})`, { cause: error })
    default:
      return new StoreOpenError(
        `${path}: cannot be opened (${message}); check that DATA_DIR is writable and on a local disk`,
        {
          cause: error
        }
      )
  }
}
