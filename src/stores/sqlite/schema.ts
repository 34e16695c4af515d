import type { Database } from './driver.ts'
import { ARCHIVED, READ } from './mark-flags.ts'
import { WATERMARKS_OF_ALL } from './watermarks.ts'

/** Marks the file as Bellwire's: "Bell". */
export const APPLICATION_ID = 0x42656c6c

/** Counts the entries of all shared channels, for a file that has entries but no sizes yet. */
export const SIZES_OF_ALL =
  "INSERT INTO size SELECT channel, count(*) FROM entry WHERE substr(channel, 1, 5) <> 'user:' GROUP BY channel"

/**
 * Forward migrations: step n takes version n to n + 1. A step is never edited once released; a new
 * one is appended.
 *
 * `note` holds the content once. Its rowid is the seq of its first entry; its entries have the seqs
 * `seq`, `seq + 1`, … in the order of its channels. `left_over` counts the entries that still exist
 * (an old name, kept to avoid a migration). `entry.replaced` is the seq of the entry that it replaced. A
 * `state` with `since` is only for a client that resumes at that seq or later. `idem` is a rowid
 * table so that pruning walks it by age. `size` counts the entries of each shared channel.
 * `floor.dropped` is a seq above all entries that left a channel without an event.
 */
const STEPS: readonly string[] = [
  `CREATE TABLE meta (k TEXT PRIMARY KEY, v ANY) STRICT, WITHOUT ROWID;
   CREATE TABLE note (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, recipients TEXT NOT NULL, content TEXT NOT NULL,
     at INTEGER NOT NULL, exp INTEGER, left_over INTEGER NOT NULL) STRICT;
   CREATE INDEX note_exp ON note (exp) WHERE exp IS NOT NULL;
   CREATE TABLE entry (channel TEXT NOT NULL, seq INTEGER NOT NULL, note INTEGER NOT NULL, times INTEGER NOT NULL,
     key TEXT, replaces TEXT, exp INTEGER, PRIMARY KEY (channel, seq)) STRICT, WITHOUT ROWID;
   CREATE INDEX entry_key ON entry (channel, key) WHERE key IS NOT NULL;
   CREATE TABLE state (seq INTEGER PRIMARY KEY, channel TEXT NOT NULL, op TEXT NOT NULL, ids TEXT, up_to INTEGER, at INTEGER NOT NULL) STRICT;
   CREATE INDEX state_channel ON state (channel, seq);
   CREATE TABLE mark (user TEXT NOT NULL, channel TEXT NOT NULL, seq INTEGER NOT NULL, flags INTEGER NOT NULL, read_at INTEGER,
     PRIMARY KEY (user, channel, seq)) STRICT, WITHOUT ROWID;
   CREATE TABLE floor (channel TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE idem (n INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, fingerprint TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL,
     exp INTEGER NOT NULL) STRICT;
   CREATE TABLE ticket (hash TEXT PRIMARY KEY, user TEXT NOT NULL, topics TEXT NOT NULL, exp INTEGER NOT NULL) STRICT, WITHOUT ROWID;
   CREATE INDEX ticket_user ON ticket (user);
   CREATE INDEX ticket_exp ON ticket (exp);
   CREATE TABLE revocation (user TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
   INSERT INTO meta VALUES ('head', 0), ('floor', 0);`,
  // For delivery reports: the publish key, and what the subscribers of a shared channel did. For
  // replays: what a collapsed entry replaced.
  `ALTER TABLE note ADD COLUMN producer TEXT NOT NULL DEFAULT '';
   CREATE INDEX mark_place ON mark (channel, seq);
   ALTER TABLE entry ADD COLUMN replaced INTEGER;
   ALTER TABLE state ADD COLUMN since INTEGER NOT NULL DEFAULT 0;`,
  // So that the cost of counts does not grow with what was ever read; see `watermarks.ts`.
  `CREATE TABLE size (channel TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT, WITHOUT ROWID;
   ${SIZES_OF_ALL};
   CREATE INDEX mark_done ON mark (user, channel, seq) WHERE flags & ${READ | ARCHIVED} <> 0;
   CREATE INDEX mark_archived ON mark (user, channel, seq) WHERE flags & ${ARCHIVED} <> 0;
   CREATE TABLE reach (user TEXT NOT NULL, channel TEXT NOT NULL, done INTEGER NOT NULL, seen INTEGER NOT NULL, archived INTEGER NOT NULL,
     PRIMARY KEY (user, channel)) STRICT, WITHOUT ROWID;
   ${WATERMARKS_OF_ALL};
   ALTER TABLE floor ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;`,
  // Which seqs were never used, and up to which seq a cursor of an earlier epoch is valid in this
  // log.
  `CREATE TABLE fence (tail INTEGER PRIMARY KEY, top INTEGER NOT NULL) STRICT;
   CREATE TABLE past_epoch (epoch TEXT PRIMARY KEY, tail INTEGER NOT NULL) STRICT, WITHOUT ROWID;`
]

/** The version this program writes. */
export const SCHEMA_VERSION = STEPS.length

/** The `application_id` of the file; 0 in an empty one. */
export const applicationId = (db: Database): number =>
  db.prepare<{ application_id: number }>('PRAGMA application_id').get()?.application_id ?? 0

/** Version of the schema in the file; 0 in an empty one. */
export function schemaVersion(db: Database): number {
  const made = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").get()
  return made
    ? (db.prepare<{ v: number }>("SELECT v FROM meta WHERE k = 'schema'").get()?.v ?? 0)
    : 0
}

/** Brings the file to {@link SCHEMA_VERSION}, all steps in one transaction. */
export function migrate(db: Database): void {
  const from = schemaVersion(db)
  if (from === SCHEMA_VERSION) return
  db.exec('BEGIN IMMEDIATE')
  try {
    for (const step of STEPS.slice(from)) db.exec(step)
    db.prepare("INSERT OR REPLACE INTO meta VALUES ('schema', ?)").run(SCHEMA_VERSION)
    db.exec(`PRAGMA application_id = ${APPLICATION_ID}`)
    db.exec('COMMIT')
  } catch (error) {
    db.exec('ROLLBACK')
    throw error
  }
}
