import { StoreOpenError } from '../store-open-error.ts'
import { type Database, openDatabase, SQLITE, sqliteCode } from './driver.ts'

/**
 * Takes the data directory for this process. The lock is SQLite's own on a second file, so the kernel lets go of it however
 * the process ends. Nothing else may open that file here: closing any descriptor of it would drop the lock.
 */
export function takeLock(path: string): Database {
  let db: Database | undefined
  try {
    db = openDatabase(path)
    db.exec('BEGIN EXCLUSIVE')
    return db
  } catch (error) {
    db?.close()
    if (sqliteCode(error) === SQLITE.busy) {
      throw new StoreOpenError(
        `${path}: another process has this data directory; stop it, or set DATA_DIR to another one`,
        {
          cause: error
        }
      )
    }
    throw new StoreOpenError(
      `${path}: cannot be locked (${(error as Error).message}); check that DATA_DIR is writable and on a local disk`,
      {
        cause: error
      }
    )
  }
}
