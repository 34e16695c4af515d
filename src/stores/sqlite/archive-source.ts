import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { ArchivedMark, ArchivedNote, ArchiveRecord, ArchiveSource } from '../../log/archive.ts'
import { channelsOf } from '../../log/channel.ts'
import { StoreOpenError } from '../store-open-error.ts'
import { type Database, openDatabase, type Statement } from './driver.ts'
import { ARCHIVED, READ } from './mark-flags.ts'
import { readMeta } from './meta.ts'
import { type NoteRow, notificationOf } from './rows.ts'
import { SCHEMA_VERSION, schemaVersion } from './schema.ts'
import { messageOf } from './write-failure.ts'

/** Rows of one read. */
const PAGE = 500

/**
 * Reads what the file held when it was opened and still holds; the service may run. It reads page
 * by page, because one long transaction would keep SQLite from reusing the write-ahead log, which
 * would then grow for as long as the export takes.
 */
export class SqliteArchiveSource implements ArchiveSource {
  readonly #db: Database
  readonly #now = Date.now()
  /** Later events are not read. */
  readonly #head: number

  /** Throws {@link StoreOpenError}. */
  constructor(dataDir: string) {
    const path = join(dataDir, 'bellwire.db')
    if (!existsSync(path))
      throw new StoreOpenError(
        `${path}: there is no such file; set DATA_DIR to the directory of the store`
      )
    try {
      this.#db = openDatabase(path, { readOnly: true, timeout: 5000 })
      if (schemaVersion(this.#db) !== SCHEMA_VERSION) {
        throw new StoreOpenError(
          `${path}: was written by another version; start this version on it once, or export with the version that wrote it`
        )
      }
      this.#head = readMeta(this.#db, 'head')
    } catch (error) {
      if (error instanceof StoreOpenError) throw error
      throw new StoreOpenError(`${path}: cannot be read (${messageOf(error)})`, { cause: error })
    }
  }

  async *records(): AsyncGenerator<ArchiveRecord> {
    yield* this.#notes()
    yield* this.#marks()
    yield* this.#keys()
    const revocations = this.#db.prepare<{ user: string; at: number }>(
      'SELECT user, at FROM revocation ORDER BY user'
    )
    for (const { user, at } of revocations.all()) yield { kind: 'revocation', user, at }
  }

  *#notes(): Generator<ArchivedNote> {
    const entry = this.#db.prepare<EntryColumns>(
      'SELECT times, replaces FROM entry WHERE channel = ? AND seq = ?'
    )
    const notes = this.#db.prepare<NoteRow>(
      'SELECT seq, id, recipients, content, at, exp, producer FROM note WHERE seq > ? AND seq <= ? AND (exp IS NULL OR exp > ?) ORDER BY seq LIMIT ?'
    )
    for (const row of pages((last: NoteRow | undefined) =>
      notes.all(last?.seq ?? 0, this.#head, this.#now, PAGE)
    )) {
      const note = noteOf(row, entry)
      if (note.places.length > 0) yield note
    }
  }

  *#marks(): Generator<ArchivedMark> {
    const marks = this.#db.prepare<MarkRow>(
      `SELECT m.user, m.channel, m.seq, m.flags, m.read_at AS readAt, n.id FROM mark m
       LEFT JOIN entry e ON e.channel = m.channel AND e.seq = m.seq
       LEFT JOIN note n ON n.seq = e.note AND (n.exp IS NULL OR n.exp > ?4)
       WHERE (m.user, m.channel, m.seq) > (?1, ?2, ?3) ORDER BY m.user, m.channel, m.seq LIMIT ?5`
    )
    const start = { user: '', channel: '', seq: 0 }
    for (const { user, seq, flags, readAt, id } of pages((last: MarkRow | undefined) => {
      const { user, channel, seq } = last ?? start
      return marks.all(user, channel, seq, this.#now, PAGE)
    })) {
      // Leaves out marks on entries that are gone, and on those that came later.
      if (id === null || seq > this.#head) continue
      yield {
        kind: 'mark',
        user,
        id,
        readAt: (flags & READ) === 0 ? null : readAt,
        archived: (flags & ARCHIVED) !== 0
      }
    }
  }

  *#keys(): Generator<ArchiveRecord> {
    const keys = this.#db.prepare<KeyRow>(
      'SELECT n, key, fingerprint, id, at, exp FROM idem WHERE n > ? AND exp > ? ORDER BY n LIMIT ?'
    )
    for (const { key, fingerprint, id, at, exp } of pages((last: KeyRow | undefined) =>
      keys.all(last?.n ?? 0, this.#now, PAGE)
    ))
      yield { kind: 'idempotency-key', key, fingerprint, id, createdAt: at, expiresAt: exp }
  }

  async close(): Promise<void> {
    this.#db.close()
  }
}

interface EntryColumns {
  readonly times: number
  readonly replaces: string | null
}
interface MarkRow {
  readonly user: string
  readonly channel: string
  readonly seq: number
  readonly flags: number
  readonly readAt: number | null
  /** Null if the entry is gone. */
  readonly id: string | null
}
interface KeyRow {
  readonly n: number
  readonly key: string
  readonly fingerprint: string
  readonly id: string
  readonly at: number
  readonly exp: number
}

/** All rows, page by page; `next` reads the page after the last row of the one before. */
function* pages<R>(next: (last: R | undefined) => readonly R[]): Generator<R> {
  for (let rows = next(undefined); rows.length > 0; rows = next(rows.at(-1))) yield* rows
}

function noteOf(row: NoteRow, entry: Statement<EntryColumns>): ArchivedNote {
  const { id, to, content, createdAt, expiresAt, producer } = notificationOf(row)
  const places = channelsOf(to).flatMap((channel, k) => {
    const found = entry.get(channel, row.seq + k)
    if (!found) return []
    const { times, replaces } = found
    return [{ channel, times, ...(replaces === null ? {} : { replaces }) }]
  })
  const expiry = expiresAt === undefined ? {} : { expiresAt }
  return { kind: 'notification', id, to, content, createdAt, ...expiry, producer, places }
}
