import {
  type ArchivedMark,
  type ArchivedNote,
  ArchiveFault,
  type ArchiveRecord,
  type ArchiveTarget,
  channelOfReader
} from '../../log/archive.ts'
import { channelsOf } from '../../log/channel.ts'
import { StoreOpenError } from '../store-open-error.ts'
import { type Database, openDatabase } from './driver.ts'
import { ARCHIVED, READ, SEEN } from './mark-flags.ts'
import { type PreparedFile, prepareFile } from './prepare-file.ts'
import { decodeRecipients, encodeRecipients } from './recipients.ts'
import { SIZES_OF_ALL } from './schema.ts'
import { WATERMARKS_OF_ALL } from './watermarks.ts'

/**
 * Fills an empty file in one transaction, so that it holds everything or nothing. It locks the data
 * directory.
 */
export class SqliteArchiveTarget implements ArchiveTarget {
  readonly #file: PreparedFile
  readonly #db: Database
  readonly #s: ReturnType<typeof statements>
  readonly #now = Date.now()
  #head: number
  #committed = false
  #open = true

  /** Throws {@link StoreOpenError} if the store is not empty, or another process has it. */
  constructor(dataDir: string) {
    const file = prepareFile(dataDir, 'full')
    this.#file = file
    this.#head = file.leap ?? file.head
    const db = openDatabase(file.path, { timeout: 5000 })
    this.#db = db
    try {
      db.exec('PRAGMA synchronous = full; BEGIN IMMEDIATE')
      const used = db.prepare('SELECT 1 FROM note UNION ALL SELECT 1 FROM state LIMIT 1').get()
      if (file.head > 0 || used) {
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
    this.#db.exec(`${SIZES_OF_ALL}; ${WATERMARKS_OF_ALL}; COMMIT`)
    this.#committed = true
    this.#file.detector.record(this.#head, { clean: true })
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
      throw new ArchiveFault(index, `the notification ${id} is in an earlier line already`)
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
          `an earlier line already has the key ${JSON.stringify(key)} in ${channel}`
        )
      }
      const entrySeq = seq + channels.indexOf(channel)
      // The replaced entry's seq is of the other log, whose cursors are void here: any seq works.
      const replaced = replaces === undefined ? null : entrySeq
      this.#s.entry.run(channel, entrySeq, seq, times, key ?? null, replaces ?? null, replaced, exp)
    }
  }

  #mark({ user, id, readAt, archived }: ArchivedMark, index: number): void {
    const note = this.#s.findNote.get(id)
    if (!note) throw new ArchiveFault(index, `no earlier line has the notification ${id}`)
    const to = decodeRecipients(note.recipients)
    const channel = channelOfReader(to, user)
    if (channel === undefined)
      throw new ArchiveFault(index, `the notification ${id} is not for the user ${user}`)
    const flags = SEEN | (readAt === null ? 0 : READ) | (archived ? ARCHIVED : 0)
    const seq = note.seq + channelsOf(to).indexOf(channel)
    this.#s.mark.run(user, channel, seq, flags, readAt)
  }
}

function statements(db: Database) {
  return {
    findNote: db.prepare<{ seq: number; recipients: string }>(
      'SELECT seq, recipients FROM note WHERE id = ?'
    ),
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
