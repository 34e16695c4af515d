import type { Store } from '../core/store.ts'
import { StoreOpenError } from './store-open-error.ts'

export { StoreOpenError } from './store-open-error.ts'

/** What the stores of one process need to know; see the settings of the same names. */
export interface StoreOptions {
  readonly store: 'sqlite' | 'memory' | 'redis'
  /** Directory of the embedded store's files; created if missing. */
  readonly dataDir: string
  /** `full`: a commit survives a power cut. `normal`: it survives the end of the process. */
  readonly sync: 'full' | 'normal'
  /** 0: for ever. */
  readonly retentionDays: number
  /** What one channel keeps at least, and at most twice that; 0: everything. */
  readonly retentionPerChannel: number
  /** Hears how long each commit took, in milliseconds, where there is such a thing. */
  readonly onCommit?: ((ms: number) => void) | undefined
}

/** Opens the store that was asked for; the only switch on its kind. Rejects with {@link StoreOpenError}. */
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
    case 'redis':
      throw new StoreOpenError('STORE=redis can connect, and keeps nothing yet: use sqlite or memory')
  }
}
