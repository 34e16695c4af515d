import type { ArchiveSource, ArchiveTarget } from '../log/archive.ts'
import { StoreOpenError } from './store-open-error.ts'
import type { StoreOptions } from './store-options.ts'

/** The store to export or fill. */
export type ArchiveOptions = Pick<
  StoreOptions,
  'store' | 'dataDir' | 'redisUrl' | 'redisPrefix' | 'redisShards' | 'retentionDays'
>

const nothingKept = (): StoreOpenError =>
  new StoreOpenError('STORE=memory keeps nothing between processes: set STORE to sqlite or redis')

/** How each kind of store is opened. */
interface Openers<T> {
  sqlite(dataDir: string): Promise<T>
  redis(options: ArchiveOptions & { readonly redisUrl: string }): Promise<T>
}

async function open<T>(options: ArchiveOptions, openers: Openers<T>): Promise<T> {
  const { store, dataDir, redisUrl } = options
  if (store === 'memory') throw nothingKept()
  if (store === 'sqlite') return openers.sqlite(dataDir)
  if (redisUrl === undefined)
    throw new StoreOpenError('REDIS_URL is required with STORE=redis: set the address')
  return openers.redis({ ...options, redisUrl })
}

/** Opens a store for export. Rejects with {@link StoreOpenError}. */
export const openArchiveSource = (options: ArchiveOptions): Promise<ArchiveSource> =>
  open<ArchiveSource>(options, {
    sqlite: async (dataDir) => {
      const { SqliteArchiveSource } = await import('./sqlite/archive-source.ts')
      return new SqliteArchiveSource(dataDir)
    },
    redis: async (address) => {
      const { RedisArchiveSource } = await import('./redis/archive-source.ts')
      return RedisArchiveSource.open(address)
    }
  })

/**
 * Copies the embedded store to a file (see `backUp`), and returns its size in bytes. Rejects with
 * {@link StoreOpenError}.
 */
export async function backUpStore(
  { store, dataDir }: Pick<ArchiveOptions, 'store' | 'dataDir'>,
  file: string
): Promise<number> {
  switch (store) {
    case 'memory':
      throw nothingKept()
    case 'redis':
      throw new StoreOpenError(
        'backup copies the embedded store, and STORE is redis: back up Redis with its own tools (BGSAVE), or use export'
      )
    case 'sqlite': {
      const { backUp } = await import('./sqlite/backup.ts')
      return backUp(dataDir, file)
    }
  }
}

/** Opens an empty store for import. Rejects with {@link StoreOpenError}. */
export const openArchiveTarget = (options: ArchiveOptions): Promise<ArchiveTarget> =>
  open<ArchiveTarget>(options, {
    sqlite: async (dataDir) => {
      const { SqliteArchiveTarget } = await import('./sqlite/archive-target.ts')
      return new SqliteArchiveTarget(dataDir)
    },
    redis: async (address) => {
      const { RedisArchiveTarget } = await import('./redis/archive-target.ts')
      return RedisArchiveTarget.open(address)
    }
  })
