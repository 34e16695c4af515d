import type { Redis } from 'ioredis'
import type { StoreWarning } from '../../log/store.ts'
import type { RedisClients, RedisConnection } from './client.ts'
import { LONE_NODE, RedisMisfit } from './redis-errors.ts'

/** What a server says about itself that an operator should know. */
export interface ServerReport {
  /** Names this life of the server. */
  readonly runId: string
  readonly bytes: number
  readonly warnings: readonly StoreWarning[]
}

/**
 * Rejects with {@link RedisMisfit} if what is there is not what `REDIS_URL` says. A node of a Cluster that is
 * used as a server of its own may own all slots that are needed today, and lose one tomorrow.
 */
export async function checkAddress({ kind, db, commands }: RedisClients): Promise<void> {
  if (kind === 'cluster') return
  const numbered =
    db === 0 ? '' : `, and without the database number ${db}, since a Cluster has only one database`
  if (/^cluster_enabled:1/m.test(await commands.info('cluster')))
    throw new RedisMisfit(LONE_NODE + numbered)
  // The library goes on with database 0 if it may not select another.
  if (db === 0) return
  await (commands as Redis).select(db).catch((error: Error) => {
    if (error.name !== 'ReplyError') throw error
    throw new RedisMisfit(
      `REDIS_URL names database ${db}, and Redis refuses it: name one that it has (${error.message})`
    )
  })
}

/** Asks the server that holds `key`. INFO tells all of it, and is allowed where CONFIG is not. */
export async function inspectServer(
  connection: RedisConnection,
  key: string
): Promise<ServerReport> {
  const pipeline = connection.pipeline()
  // In a cluster INFO goes where the key before it lies.
  pipeline.exists(key)
  for (const section of ['server', 'memory', 'persistence']) pipeline.info(section)
  const answers = (await pipeline.exec()) ?? []
  const about = new Map<string, string>()
  for (const [error, text] of answers.slice(1)) {
    if (error) throw error
    for (const line of String(text).split('\r\n')) {
      const colon = line.indexOf(':')
      if (colon > 0) about.set(line.slice(0, colon), line.slice(colon + 1))
    }
  }
  return {
    runId: about.get('run_id') ?? '',
    bytes: Number(about.get('used_memory') ?? 0),
    warnings: warningsOf(about)
  }
}

function warningsOf(about: ReadonlyMap<string, string>): StoreWarning[] {
  const warnings: StoreWarning[] = []
  const valkey = about.has('valkey_version')
  const version = about.get('redis_version') ?? '0'
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (!valkey && (major < 6 || (major === 6 && minor < 2))) {
    warnings.push({
      code: 'redis-outdated',
      message: `This Redis is ${version}; 6.2 is the oldest that has every command that is used.`,
      action: 'Upgrade Redis to 6.2 or later, or use Valkey.'
    })
  }
  if (about.get('aof_enabled') === '0') {
    warnings.push({
      code: 'redis-not-durable',
      message: 'Redis keeps no append-only file: what it accepted is gone when it restarts.',
      action:
        'Set appendonly yes in Redis (with a power cut appendfsync everysec loses up to two seconds, always nothing).'
    })
  }
  const policy = about.get('maxmemory_policy') ?? 'noeviction'
  if (policy !== 'noeviction' && about.get('maxmemory') !== '0') {
    warnings.push({
      code: 'redis-evicts',
      message: `Redis removes keys as it likes when it is full (maxmemory-policy ${policy}): notifications would vanish in silence.`,
      action:
        'Set maxmemory-policy noeviction in Redis: publishing then answers 507 when it is full.'
    })
  }
  return warnings
}
