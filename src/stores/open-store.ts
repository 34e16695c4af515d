import type { Store } from '../log/store.ts'
import type { StoreOptions } from './store-options.ts'

/** Opens the store of the setting STORE. Rejects with {@link StoreOpenError}. */
export async function openStore(options: StoreOptions): Promise<Store> {
  switch (options.store) {
    case 'memory': {
      const { MemoryStore } = await import('./memory/memory-store.ts')
      return new MemoryStore(options)
    }
    case 'sqlite': {
      const { SqliteStore } = await import('./sqlite/sqlite-store.ts')
      return SqliteStore.open(options)
    }
    case 'redis': {
      const { RedisStore } = await import('./redis/redis-store.ts')
      return RedisStore.open(options)
    }
  }
}
