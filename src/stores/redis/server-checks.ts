import type { StoreWarning } from '../../core/store.ts'
import type { RedisConnection } from './client.ts'

/** What a server says about itself that an operator should know. */
export interface ServerReport {
  /** Names this life of the server. */
  readonly runId: string
  readonly bytes: number
  readonly warnings: readonly StoreWarning[]
}

/** Asks the server that holds `key`. INFO tells all of it, and is allowed where CONFIG is not. */
export async function inspectServer(connection: RedisConnection, key: string): Promise<ServerReport> {
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
  return { runId: about.get('run_id') ?? '', bytes: Number(about.get('used_memory') ?? 0), warnings: warningsOf(about) }
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
      action: 'Set appendonly yes in Redis (with a power cut appendfsync everysec loses up to two seconds, always nothing).'
    })
  }
  const policy = about.get('maxmemory_policy') ?? 'noeviction'
  if (policy !== 'noeviction' && about.get('maxmemory') !== '0') {
    warnings.push({
      code: 'redis-evicts',
      message: `Redis removes keys as it likes when it is full (maxmemory-policy ${policy}): notifications would vanish in silence.`,
      action: 'Set maxmemory-policy noeviction in Redis: publishing then answers 507 when it is full.'
    })
  }
  return warnings
}
