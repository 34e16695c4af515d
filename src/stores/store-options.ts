import type { StoreWarning } from '../log/store.ts'

/** Where a store reports what an operator should know. */
export interface StoreLog {
  /** A fault that the store recovers from by itself. */
  trouble(message: string): void
  /** A fault in the set-up. It is reported once, and stays in the status as long as it lasts. */
  warning(warning: StoreWarning): void
}

/** The settings of a store; see the settings of the same names. */
export interface StoreOptions {
  readonly store: 'sqlite' | 'memory' | 'redis'
  /** Directory of the embedded store's files; created if missing. */
  readonly dataDir: string
  /** `full`: a commit survives a power cut. `normal`: it survives a crash of the process. */
  readonly sync: 'full' | 'normal'
  /** Address of Redis, validated by the config. */
  readonly redisUrl?: string | undefined
  /** Prefix of every key in Redis. */
  readonly redisPrefix: string
  /** How many replicas must acknowledge a write; 0: none. */
  readonly redisWaitReplicas: number
  /** How many logs the store is split into; see `redis-store.ts`. */
  readonly redisShards: number
  /** Days that notifications are kept; 0: for ever. */
  readonly retentionDays: number
  /** Entries that one channel keeps at least; at most twice as many. 0: all. */
  readonly retentionPerChannel: number
  /** Receives the duration of each commit in milliseconds, if the store commits. */
  readonly onCommit?: ((ms: number) => void) | undefined
  /**
   * Called once if the open store cannot recover within this process: log the error and end the
   * process.
   */
  readonly onLost?: ((error: Error) => void) | undefined
  readonly log?: StoreLog | undefined
}
