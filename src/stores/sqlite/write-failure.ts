import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Failure } from './commands.ts'
import { extendedCode, SQLITE, sqliteCode } from './driver.ts'

/**
 * With less free space than this after a failed write the disk is full, whatever SQLite reported.
 */
const FULL_BYTES = 1024 * 1024

const DISK_CODES: readonly (number | undefined)[] = [
  SQLITE.ioerr,
  SQLITE.cantopen,
  SQLITE.readonly,
  SQLITE.busy,
  SQLITE.corrupt
]

/**
 * Why a write to the database at `path` failed. An error that the disk did not cause is a bug, and
 * `broken`.
 */
export function failureOf(error: unknown, path: string): Failure {
  return { kind: kindOf(error, path), message: messageOf(error) }
}

/** The text of an error. */
export const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error)

function kindOf(error: unknown, path: string): Failure['kind'] {
  const code = sqliteCode(error)
  if (code === SQLITE.full || extendedCode(error) === SQLITE.ioerrShmSize) return 'full'
  if (!DISK_CODES.includes(code)) return 'broken'
  try {
    const { bavail, bsize } = statfsSync(dirname(path))
    if (bavail * bsize < FULL_BYTES) return 'full'
  } catch {
    // The directory itself cannot be reached.
  }
  return 'unavailable'
}
