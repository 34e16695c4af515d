import type { StoreWarning } from '../../log/store.ts'
import type { RedisClients, RedisConnection } from './client.ts'
import { LONE_NODE, RedisMisconfigured } from './redis-errors.ts'
import { resultsOf, textOf } from './replies.ts'

/** What a server says about itself that matters to an operator. */
export interface ServerReport {
  /** Names the server process; it changes with each restart. */
  readonly runId: string
  /** Memory that it uses. */
  readonly bytes: number
  readonly warnings: readonly StoreWarning[]
}

/**
 * Checks that Redis is set up as `REDIS_URL` says; rejects with {@link RedisMisconfigured} if not.
 * A node of a Cluster, used as a single server, may own all slots that are needed today and lose
 * one tomorrow.
 */
export async function checkAddress({ kind, db, commands }: RedisClients): Promise<void> {
  if (kind === 'cluster') return
  const numbered =
    db === 0 ? '' : `, and without the database number ${db}, since a Cluster has only one database`
  if (/^cluster_enabled:1/m.test(await commands.info('cluster')))
    throw new RedisMisconfigured(LONE_NODE + numbered)
  // ioredis continues with database 0 if it may not select another.
  if (db === 0) return
  await commands.call('select', db).catch((error: Error) => {
    if (error.name !== 'ReplyError') throw error
    throw new RedisMisconfigured(
      `REDIS_URL names database ${db}, and Redis refuses it: name one that it has (${error.message})`
    )
  })
}

/** Asks the server that holds `key`. INFO has everything, and is allowed more often than CONFIG. */
export async function inspectServer(
  connection: RedisConnection,
  key: string
): Promise<ServerReport> {
  const pipeline = connection.pipeline()
  // INFO has no key. A Cluster client sends a pipeline to the server of its keys, so EXISTS picks
  // that server.
  pipeline.exists(key)
  for (const section of ['server', 'memory', 'persistence']) pipeline.info(section)
  const [, ...sections] = await resultsOf(pipeline)
  const about = new Map<string, string>()
  for (const section of sections) {
    for (const line of textOf(section).split('\r\n')) {
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
      message: `This Redis is version ${version}; Bellwire needs commands that came with 6.2.`,
      action: 'Upgrade Redis to 6.2 or later, or use Valkey.'
    })
  }
  if (about.get('aof_enabled') === '0') {
    warnings.push({
      code: 'redis-not-durable',
      message:
        'Redis keeps no append-only file: a restart loses notifications that it has accepted.',
      action:
        'Set appendonly yes in Redis. In a power cut appendfsync everysec loses up to two seconds, and always nothing.'
    })
  }
  const policy = about.get('maxmemory_policy') ?? 'noeviction'
  if (policy !== 'noeviction' && about.get('maxmemory') !== '0') {
    warnings.push({
      code: 'redis-evicts',
      message: `Redis evicts keys when it is full (maxmemory-policy ${policy}): notifications would disappear silently.`,
      action:
        'Set maxmemory-policy noeviction in Redis: publishing then answers 507 when it is full.'
    })
  }
  return warnings
}
