import type { ArchivedNote, ArchiveRecord } from '../../log/archive.ts'
import { channelsByShard, shardOf } from './sharding.ts'

/**
 * A record as `import-2.lua` takes it, perhaps several times. None if it is not for this shard, or
 * if it has expired at `now`, in milliseconds since 1970.
 */
export function encodeRecord(
  record: ArchiveRecord,
  shard: number,
  shards: number,
  now: number
): string[][] {
  switch (record.kind) {
    case 'notification':
      return encodeNotification(record, shard, shards)
    case 'mark':
      if (shardOf(record.user, shards) !== shard) return []
      return [['m', record.user, record.id, `${record.readAt ?? '-'} ${record.archived ? 1 : 0}`]]
    case 'idempotency-key': {
      const { key, fingerprint, id, createdAt, expiresAt } = record
      if (expiresAt <= now) return []
      // Its notification may be gone and may have been in any shard: none of them takes it again.
      const names = [...(shardOf(key, shards) === shard ? [key] : []), ...(shards > 1 ? [id] : [])]
      const [value, leftMs] = [`${fingerprint} ${id} ${createdAt}`, String(expiresAt - now)]
      return names.map((name) => ['y', name, value, leftMs])
    }
    case 'revocation':
      if (shardOf(record.user, shards) !== shard) return []
      return [['z', record.user, String(record.at)]]
  }
}

function encodeNotification(note: ArchivedNote, shard: number, shards: number): string[][] {
  const { id, to, content, key = '', createdAt, expiresAt, producer } = note
  const channels = note.places.map(({ channel }) => channel)
  const own = new Set(channelsByShard(channels, shards).get(shard))
  if (own.size === 0) return []
  const entries = note.places.filter(({ channel }) => own.has(channel))
  const expiry = expiresAt === undefined ? '' : String(expiresAt)
  const about = [id, JSON.stringify(to), content, key, String(createdAt), expiry, producer]
  return [
    [
      'n',
      ...about,
      String(entries.length),
      ...entries.flatMap(({ channel, times, replaces = '' }) => [channel, String(times), replaces])
    ]
  ]
}
