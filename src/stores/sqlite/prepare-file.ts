import { mkdirSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { MAX_FENCES, MAX_PAST_EPOCHS } from '../../bounds/limits.ts'
import type { Fence } from '../fenced-seqs.ts'
import { StoreOpenError } from '../store-open-error.ts'
import { type Database, openDatabase, SQLITE, sqliteCode } from './driver.ts'
import { takeLock } from './lock.ts'
import { readMeta } from './meta.ts'
import { drawWord, RestoreDetector } from './restore-detector.ts'
import { APPLICATION_ID, applicationId, migrate, SCHEMA_VERSION, schemaVersion } from './schema.ts'
import { leapFrom } from './seq-leap.ts'
import { messageOf } from './write-failure.ts'

/**
 * A larger file is not read through at the start: a gigabyte takes seconds, or a minute from a slow
 * disk. This much takes a fifth of a second.
 */
const CHECKED_BYTES = 64 * 1024 ** 2

/** A database that is Bellwire's, undamaged, migrated and locked, and whose epoch is settled. */
export interface PreparedFile {
  readonly path: string
  readonly lock: Database
  readonly detector: RestoreDetector
  readonly epoch: string
  readonly head: number
  readonly floor: number
  /** The first event of this process comes after this seq; null in a new log. */
  readonly leap: number | null
  readonly fences: readonly Fence[]
  /** Earlier epochs of the log, each with the head at which it ended. */
  readonly pastEpochs: ReadonlyMap<string, number>
  /** True if an earlier state was restored: the epoch is new. */
  readonly putBack: boolean
}

/** Does everything that must succeed before the writer starts. Throws {@link StoreOpenError}. */
export function prepareFile(dataDir: string, sync: 'full' | 'normal'): PreparedFile {
  try {
    makeDirectory(resolve(dataDir))
  } catch (error) {
    throw new StoreOpenError(
      `${dataDir}: cannot be created (${messageOf(error)}); set DATA_DIR to a directory that is writable`,
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

/**
 * One level at a time: in Node 20 the recursive option loops for ever below a directory that
 * refuses new entries, such as /proc.
 */
function makeDirectory(path: string): void {
  const isThere = (): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
  if (isThere()) return
  makeDirectory(dirname(path))
  try {
    mkdirSync(path)
  } catch (error) {
    // Another process may have created it meanwhile.
    if (!isThere()) throw error
  }
}

function check(db: Database, path: string): void {
  const id = applicationId(db)
  const empty = db.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get() === undefined
  if (id !== APPLICATION_ID && !(id === 0 && empty)) throw foreign(path)
  const version = empty ? 0 : schemaVersion(db)
  if (version > SCHEMA_VERSION) {
    throw new StoreOpenError(
      `${path}: was written by a newer version (schema ${version}, this one knows ${SCHEMA_VERSION}); start that version, or set DATA_DIR elsewhere`
    )
  }
  if (statSync(path).size >= CHECKED_BYTES) return
  const verdict = db.prepare<{ quick_check: string }>('PRAGMA quick_check(1)').get()?.quick_check
  if (verdict !== 'ok') throw damaged(path, String(verdict).split('\n')[0] ?? '')
}

function settleEpoch(
  db: Database,
  path: string,
  dataDir: string,
  sync: 'full' | 'normal'
): Omit<PreparedFile, 'path' | 'lock'> {
  const read = db.prepare<{ v: string }>('SELECT v FROM meta WHERE k = ?')
  const write = db.prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)')
  const head = readMeta(db, 'head')
  const lastToken = read.get('life')?.v ?? null
  const lastEpoch = read.get('epoch')?.v
  const detector = new RestoreDetector(join(dataDir, 'bellwire.life'), path, sync)
  const complete = detector.isComplete({ token: lastToken, head })
  const epoch = complete && lastEpoch !== undefined ? lastEpoch : drawWord()
  const putBack = lastEpoch !== undefined && epoch !== lastEpoch
  // First the file, with both tokens, and again when the database has the new one: a kill at any
  // point between does no harm. After a restore the file must not name the old token, so that a
  // kill before the commit is detected again.
  if (epoch === lastEpoch) detector.record(head, { previous: lastToken })
  db.exec('BEGIN IMMEDIATE')
  write.run('epoch', epoch)
  write.run('life', detector.token)
  if (putBack) db.prepare('INSERT OR REPLACE INTO past_epoch VALUES (?, ?)').run(lastEpoch, head)
  const known = trimHistory(db)
  db.exec('COMMIT')
  detector.record(head)
  // A restore may have undone later events of the same process that nothing here shows.
  const leap = lastEpoch === undefined ? null : leapFrom(head, Date.now())
  return { detector, epoch, head, leap, putBack, ...known }
}

/**
 * Deletes fences and epochs that no valid cursor leads to, and the oldest if there are too many.
 */
function trimHistory(db: Database): Pick<PreparedFile, 'floor' | 'fences' | 'pastEpochs'> {
  const beyond = db
    .prepare<{ top: number }>('SELECT top FROM fence ORDER BY tail DESC LIMIT 1 OFFSET ?')
    .get(MAX_FENCES - 1)
  if (beyond) db.prepare("UPDATE meta SET v = max(v, ?) WHERE k = 'floor'").run(beyond.top)
  db.exec("DELETE FROM fence WHERE top <= (SELECT v FROM meta WHERE k = 'floor')")
  db.prepare(
    `DELETE FROM past_epoch WHERE tail < (SELECT v FROM meta WHERE k = 'floor')
     OR epoch NOT IN (SELECT epoch FROM past_epoch ORDER BY tail DESC LIMIT ?)`
  ).run(MAX_PAST_EPOCHS)
  const pastEpochs = db.prepare<{ epoch: string; tail: number }>(
    'SELECT epoch, tail FROM past_epoch'
  )
  return {
    floor: readMeta(db, 'floor'),
    fences: db.prepare<Fence>('SELECT tail, top FROM fence ORDER BY tail').all(),
    pastEpochs: new Map(pastEpochs.all().map(({ epoch, tail }) => [epoch, tail]))
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
  const message = messageOf(error)
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
