import type { StoreWarning } from '../log/store.ts'

/** What a store that depends on a server has to tell. */
export interface StoreLog {
  /** Trouble that mends itself. */
  trouble(message: string): void
  /** A setting of the server that should be changed; told once, and in the status as long as it is so. */
  warning(warning: StoreWarning): void
}

/** What the stores of one process need to know; see the settings of the same names. */
export interface StoreOptions {
  readonly store: 'sqlite' | 'memory' | 'redis'
  /** Directory of the embedded store's files; created if missing. */
  readonly dataDir: string
  /** `full`: a commit survives a power cut. `normal`: it survives the end of the process. */
  readonly sync: 'full' | 'normal'
  /** Address of Redis, checked by the config. */
  readonly redisUrl?: string | undefined
  /** What every key in Redis begins with. */
  readonly redisPrefix: string
  /** Replicas that must have a write before it counts; 0: none. */
  readonly redisWaitReplicas: number
  /** Logs that the store is split into, see `redis-store.ts`. */
  readonly redisShards: number
  /** 0: for ever. */
  readonly retentionDays: number
  /** What one channel keeps at least, and at most twice that; 0: everything. */
  readonly retentionPerChannel: number
  /** Hears how long each commit took, in milliseconds, where there is such a thing. */
  readonly onCommit?: ((ms: number) => void) | undefined
  /** Hears, once, that the open store cannot come back within this process: to be told, and the process ended. */
  readonly onLost?: ((error: Error) => void) | undefined
  readonly log?: StoreLog | undefined
}
