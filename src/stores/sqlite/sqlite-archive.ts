import { existsSync } from 'node:fs'
import { join } from 'node:path'
import {
  type ArchivedMark,
  type ArchivedNote,
  ArchiveFault,
  type ArchiveRecord,
  type ArchiveSource,
  type ArchiveTarget,
  channelOfReader
} from '../../log/archive.ts'
import { type Channel, channelsOf } from '../../log/channel.ts'
import { StoreOpenError } from '../store-open-error.ts'
import { decodeRecipients, encodeRecipients } from './commands.ts'
import { type Database, openDatabase, type Row, type Statement } from './driver.ts'
import { ARCHIVED, READ, SEEN } from './flags.ts'
import { type PreparedFile, prepareFile } from './prepare-file.ts'
import { REACH_OF_ALL } from './reach.ts'
import { SCHEMA_VERSION, SIZES_OF_ALL, schemaVersion } from './schema.ts'

/** Rows read at a time. */
const PAGE = 500

/**
 * Reads what was in the file when it was opened and still is; the service may run meanwhile. Page by page: a transaction that stays
 * open would keep the service's log of writes from being reused, and let it grow for as long as somebody takes to read the export.
 */
export class SqliteArchiveSource implements ArchiveSource {
  readonly #db: Database
  readonly #now = Date.now()
  /** Nothing that came later is read. */
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
          `${path}: was written by another version; start the service of this version on it once, or export with that one`
        )
      }
      this.#head = Number(this.#db.prepare("SELECT v FROM meta WHERE k = 'head'").get()?.['v'])
    } catch (error) {
      if (error instanceof StoreOpenError) throw error
      throw new StoreOpenError(`${path}: cannot be read (${(error as Error).message})`, {
        cause: error
      })
    }
  }

  async *records(): AsyncGenerator<ArchiveRecord> {
    const db = this.#db
    const place = db.prepare('SELECT times, replaces FROM entry WHERE channel = ? AND seq = ?')
    const notes = db.prepare(
      'SELECT seq, id, recipients, content, at, exp, producer FROM note WHERE seq > ? AND seq <= ? AND (exp IS NULL OR exp > ?) ORDER BY seq LIMIT ?'
    )
    const page = (after: number): Row[] => notes.all(after, this.#head, this.#now, PAGE)
    for (let rows = page(0); rows.length > 0; rows = page(Number(rows.at(-1)!['seq']))) {
      for (const row of rows) {
        const note = noteOf(row, place)
        if (note.places.length > 0) yield note
      }
    }
    const marks = db.prepare(
      `SELECT m.user, m.channel, m.seq, m.flags, m.read_at, n.id FROM mark m
       LEFT JOIN entry e ON e.channel = m.channel AND e.seq = m.seq
       LEFT JOIN note n ON n.seq = e.note AND (n.exp IS NULL OR n.exp > ?4)
       WHERE (m.user, m.channel, m.seq) > (?1, ?2, ?3) ORDER BY m.user, m.channel, m.seq LIMIT ?5`
    )
    let at: [user: string, channel: string, seq: number] = ['', '', 0]
    for (
      let rows = marks.all(...at, this.#now, PAGE);
      rows.length > 0;
      rows = marks.all(...at, this.#now, PAGE)
    ) {
      for (const row of rows) {
        at = [row['user'] as string, row['channel'] as string, Number(row['seq'])]
        // Marks of what is gone only wait to be swept; what came later is not in the export.
        if (row['id'] !== null && at[2] <= this.#head) yield markOf(row)
      }
    }
    const keys = db.prepare(
      'SELECT n, key, fingerprint, id, at, exp FROM idem WHERE n > ? AND exp > ? ORDER BY n LIMIT ?'
    )
    for (
      let rows = keys.all(0, this.#now, PAGE);
      rows.length > 0;
      rows = keys.all(rows.at(-1)!['n']!, this.#now, PAGE)
    ) {
      for (const row of rows) {
        yield {
          kind: 'idempotency-key',
          key: row['key'] as string,
          fingerprint: row['fingerprint'] as string,
          id: row['id'] as string,
          createdAt: Number(row['at']),
          expiresAt: Number(row['exp'])
        }
      }
    }
    for (const row of db.prepare('SELECT user, at FROM revocation ORDER BY user').all()) {
      yield { kind: 'revocation', user: row['user'] as string, at: Number(row['at']) }
    }
  }

  async close(): Promise<void> {
    this.#db.close()
  }
}

function noteOf(row: Row, place: Statement): ArchivedNote {
  const to = decodeRecipients(row['recipients'] as string)
  const content = row['content'] as string
  const first = Number(row['seq'])
  const places = channelsOf(to).flatMap((channel, k) => {
    const entry = place.get(channel, first + k)
    if (!entry) return []
    const replaces = entry['replaces'] as string | null
    return [{ channel, times: Number(entry['times']), ...(replaces === null ? {} : { replaces }) }]
  })
  return {
    kind: 'notification',
    id: row['id'] as string,
    to,
    content,
    createdAt: Number(row['at']),
    ...(row['exp'] === null ? {} : { expiresAt: Number(row['exp']) }),
    producer: row['producer'] as string,
    places
  }
}

function markOf(row: Row): ArchivedMark {
  const flags = Number(row['flags'])
  return {
    kind: 'mark',
    user: row['user'] as string,
    id: row['id'] as string,
    readAt: (flags & READ) === 0 ? null : Number(row['read_at']),
    archived: (flags & ARCHIVED) !== 0
  }
}

/** Fills an empty file in one transaction, so that there is either everything or nothing. Nobody else may have the directory. */
export class SqliteArchiveTarget implements ArchiveTarget {
  readonly #file: PreparedFile
  readonly #db: Database
  readonly #s: ReturnType<typeof statements>
  readonly #now = Date.now()
  #head: number
  #committed = false
  #open = true

  /** Throws {@link StoreOpenError}: where the store is not empty, or another process has it. */
  constructor(dataDir: string) {
    const file = prepareFile(dataDir, 'full')
    this.#file = file
    this.#head = file.leap ?? file.head
    const db = openDatabase(file.path, { timeout: 5000 })
    this.#db = db
    try {
      db.exec('PRAGMA synchronous = full; BEGIN IMMEDIATE')
      const filled = db
        .prepare('SELECT EXISTS (SELECT 1 FROM note) OR EXISTS (SELECT 1 FROM state) AS filled')
        .get()?.['filled']
      if (file.head > 0 || filled === 1) {
        throw new StoreOpenError(
          `${file.path}: is not empty; import into an empty directory (set DATA_DIR), or move this file away`
        )
      }
      this.#s = statements(db)
    } catch (error) {
      db.close()
      file.lock.close()
      throw error
    }
  }

  async load(records: readonly ArchiveRecord[]): Promise<void> {
    for (const [index, record] of records.entries()) this.#take(record, index)
  }

  async commit(): Promise<void> {
    if (this.#file.leap !== null) this.#s.fence.run(this.#file.head, this.#file.leap)
    this.#s.head.run(this.#head)
    this.#db.exec(`${SIZES_OF_ALL}; ${REACH_OF_ALL}; COMMIT`)
    this.#committed = true
    this.#file.life.write(this.#head, { clean: true })
  }

  async close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    if (!this.#committed) this.#db.exec('ROLLBACK')
    this.#db.close()
    this.#file.lock.close()
  }

  #take(record: ArchiveRecord, index: number): void {
    switch (record.kind) {
      case 'notification':
        return this.#note(record, index)
      case 'mark':
        return this.#mark(record, index)
      case 'idempotency-key': {
        const { key, fingerprint, id, createdAt, expiresAt } = record
        if (expiresAt > this.#now) this.#s.key.run(key, fingerprint, id, createdAt, expiresAt)
        return
      }
      case 'revocation':
        this.#s.revocation.run(record.user, record.at)
    }
  }

  #note(
    { id, to, content, key, createdAt, expiresAt, producer, places }: ArchivedNote,
    index: number
  ): void {
    if (this.#s.findNote.get(id))
      throw new ArchiveFault(index, `the notification ${id} stands in an earlier line, too`)
    const channels = channelsOf(to)
    const seq = this.#head + 1
    this.#head += channels.length
    const exp = expiresAt ?? null
    this.#s.note.run(
      seq,
      id,
      encodeRecipients(to),
      content,
      createdAt,
      exp,
      places.length,
      producer
    )
    for (const { channel, times, replaces } of places) {
      if (key !== undefined && this.#s.findKey.get(channel, key)) {
        throw new ArchiveFault(
          index,
          `an earlier line has the key ${JSON.stringify(key)} in ${channel}, too`
        )
      }
      const at = seq + channels.indexOf(channel)
      // What it took the place of lay in another log: nobody comes from there, so its own place will do.
      const replaced = replaces === undefined ? null : at
      this.#s.entry.run(channel, at, seq, times, key ?? null, replaces ?? null, replaced, exp)
    }
  }

  #mark({ user, id, readAt, archived }: ArchivedMark, index: number): void {
    const note = this.#s.findNote.get(id)
    if (!note) throw new ArchiveFault(index, `no line before it has the notification ${id}`)
    const to = decodeRecipients(note['recipients'] as string)
    const channel: Channel | undefined = channelOfReader(to, user)
    if (channel === undefined)
      throw new ArchiveFault(index, `the notification ${id} is not for the user ${user}`)
    const flags = SEEN | (readAt === null ? 0 : READ) | (archived ? ARCHIVED : 0)
    this.#s.mark.run(
      user,
      channel,
      Number(note['seq']) + channelsOf(to).indexOf(channel),
      flags,
      readAt
    )
  }
}

function statements(db: Database) {
  return {
    findNote: db.prepare('SELECT seq, recipients FROM note WHERE id = ?'),
    findKey: db.prepare('SELECT 1 FROM entry WHERE channel = ? AND key = ?'),
    note: db.prepare(
      'INSERT INTO note (seq, id, recipients, content, at, exp, left_over, producer) VALUES (?, ?, ?, ?, ?, ?, ?, ?)'
    ),
    entry: db.prepare(
      'INSERT INTO entry (channel, seq, note, times, key, replaces, replaced, exp) VALUES (?, ?, ?, ?, ?, ?, ?, ?)'
    ),
    mark: db.prepare(
      'INSERT OR REPLACE INTO mark (user, channel, seq, flags, read_at) VALUES (?, ?, ?, ?, ?)'
    ),
    key: db.prepare(
      'INSERT OR REPLACE INTO idem (key, fingerprint, id, at, exp) VALUES (?, ?, ?, ?, ?)'
    ),
    revocation: db.prepare('INSERT OR REPLACE INTO revocation VALUES (?, ?)'),
    fence: db.prepare('INSERT INTO fence VALUES (?, ?)'),
    head: db.prepare("UPDATE meta SET v = ? WHERE k = 'head'")
  }
}
