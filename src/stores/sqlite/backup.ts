import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  rmSync,
  statSync
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { StoreOpenError } from '../store-open-error.ts'
import { openDatabase, SQLITE, sqliteCode } from './driver.ts'
import { APPLICATION_ID, applicationId } from './schema.ts'
import { messageOf } from './write-failure.ts'

/** How long the copy waits for a lock: the service may be starting, or recovering the file. */
const BUSY_MS = 30_000

/**
 * Writes a copy of the database as of one moment, while the service may run, and returns its size
 * in bytes. The copy is on the disk when this returns, and `file` does not exist before it is
 * complete. Throws {@link StoreOpenError}.
 *
 * `VACUUM INTO` reads in one transaction. SQLite's backup interface would start again at every
 * write.
 */
export function backUp(dataDir: string, file: string): number {
  const source = join(dataDir, 'bellwire.db')
  if (!existsSync(source))
    throw new StoreOpenError(
      `${source}: there is no such file; set DATA_DIR to the directory of the store`
    )
  refuseExisting(file)
  const partial = `${file}.partial-${process.pid}`
  try {
    copy(source, partial)
    const bytes = statSync(partial).size
    sync(partial)
    publish(partial, file)
    sync(dirname(resolve(file)))
    return bytes
  } catch (error) {
    throw error instanceof StoreOpenError
      ? error
      : new StoreOpenError(`${file}: ${explain(error)}`, { cause: error })
  } finally {
    rmSync(partial, { force: true })
  }
}

function copy(source: string, target: string): void {
  const db = openDatabase(source, { readOnly: true, timeout: BUSY_MS })
  try {
    if (applicationId(db) !== APPLICATION_ID) {
      throw new StoreOpenError(
        `${source}: is not a Bellwire database; set DATA_DIR to the directory of the store`
      )
    }
    db.prepare('VACUUM INTO ?').run(target)
  } finally {
    db.close()
  }
}

/** Error codes of a file system that has no links. */
const NO_LINKS: readonly unknown[] = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP']

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : undefined

/** Gives the copy its name. Throws if another file has got it meanwhile. */
function publish(partial: string, file: string): void {
  try {
    linkSync(partial, file)
  } catch (error) {
    refuseExisting(file)
    if (!NO_LINKS.includes(codeOf(error))) throw error
    // Without links, another process could take the name between the check and the rename.
    renameSync(partial, file)
  }
}

function refuseExisting(file: string): void {
  if (existsSync(file))
    throw new StoreOpenError(
      `${file}: already exists; name a file that does not exist, or move that one away`
    )
}

function sync(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function explain(error: unknown): string {
  const message = messageOf(error)
  switch (sqliteCode(error)) {
    case SQLITE.full:
      return 'there is not enough room for the copy; free some space, or name a file on another disk'
    case SQLITE.cantopen:
      return 'cannot be written; name a file in a directory that exists and is writable'
    case SQLITE.corrupt:
    case SQLITE.notadb:
      return `the database is damaged (${message}); restore it from an earlier backup`
    default:
      return `the backup failed (${message})`
  }
}
