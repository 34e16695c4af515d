import { StoreOpenError } from '../store-open-error.ts'
import { type Database, openDatabase, SQLITE, sqliteCode } from './driver.ts'
import { messageOf } from './write-failure.ts'

/**
 * Locks the data directory for this process. The lock is SQLite's own, on a second file, so the
 * kernel releases it however the process ends. Nothing else in this process may open that file:
 * closing any descriptor of it would release the lock. Throws {@link StoreOpenError}.
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
        `${path}: another process uses this data directory; stop it, or set DATA_DIR to another one`,
        {
          cause: error
        }
      )
    }
    throw new StoreOpenError(
      `${path}: cannot be locked (${messageOf(error)}); check that DATA_DIR is writable and on a local disk`,
      {
        cause: error
      }
    )
  }
}
