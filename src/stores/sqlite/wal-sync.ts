import { fdatasyncSync, openSync } from 'node:fs'

/**
 * Returns a function that makes all commits so far durable, and throws if the disk fails. There
 * must be a write-ahead log; SQLite keeps it until the last connection closes.
 *
 * SQLite's own `synchronous = full` does the same with `fsync`, which also writes the times of the
 * file: 1.9 ms a commit instead of 0.4 ms, and 260 µs of CPU time instead of 155.
 */
export function walSync(path: string): () => void {
  // Never closed: it lives as long as the thread.
  const fd = openSync(`${path}-wal`, 'r+')
  return () => fdatasyncSync(fd)
}
