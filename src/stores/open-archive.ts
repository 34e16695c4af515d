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
const noAddress = (): StoreOpenError =>
  new StoreOpenError('REDIS_URL is required with STORE=redis: set the address')

/** Opens a store for export. Rejects with {@link StoreOpenError}. */
export async function openArchiveSource({
  redisUrl,
  ...options
}: ArchiveOptions): Promise<ArchiveSource> {
  switch (options.store) {
    case 'memory':
      throw nothingKept()
    case 'sqlite': {
      const { SqliteArchiveSource } = await import('./sqlite/archive-source.ts')
      return new SqliteArchiveSource(options.dataDir)
    }
    case 'redis': {
      if (redisUrl === undefined) throw noAddress()
      const { RedisArchiveSource } = await import('./redis/archive-source.ts')
      return RedisArchiveSource.open({ ...options, redisUrl })
    }
  }
}

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
export async function openArchiveTarget({
  redisUrl,
  ...options
}: ArchiveOptions): Promise<ArchiveTarget> {
  switch (options.store) {
    case 'memory':
      throw nothingKept()
    case 'sqlite': {
      const { SqliteArchiveTarget } = await import('./sqlite/archive-target.ts')
      return new SqliteArchiveTarget(options.dataDir)
    }
    case 'redis': {
      if (redisUrl === undefined) throw noAddress()
      const { RedisArchiveTarget } = await import('./redis/archive-target.ts')
      return RedisArchiveTarget.open({ ...options, redisUrl })
    }
  }
}
