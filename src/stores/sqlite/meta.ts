import type { Database } from './driver.ts'

/**
 * Reads a number that the database keeps about its log: the seq of the newest event, or the seq
 * below which no client can resume.
 */
export const readMeta = (db: Database, key: 'head' | 'floor'): number =>
  db.prepare<{ v: number }>('SELECT v FROM meta WHERE k = ?').get(key)?.v ?? 0
