import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { RedisConnection } from './client.ts'
import type { RedisKeys } from './keys.ts'

const DAY_MS = 24 * 60 * 60 * 1000

const read = (name: string): string =>
  readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
const PRELUDE = ['prelude-log', 'prelude-channels', 'prelude-marks'].map(read).join('\n')
const CHECK_EPOCH = read('check-epoch')

/** A script and the name by which Redis knows it. Its number of keys is in the name of its file. */
class Script {
  /** Whether an argument is a seq, which another epoch of the log would read as something else. */
  readonly takesSeq: boolean
  readonly #source: string
  readonly #sha: string

  constructor(name: string, { checksEpoch = true, takesSeq = false } = {}) {
    this.takesSeq = takesSeq
    this.#source = `${PRELUDE}\n${checksEpoch ? CHECK_EPOCH : ''}\n${read(`${name}-2`)}`
    this.#sha = createHash('sha1').update(this.#source).digest('hex')
  }

  /** Runs it. Sends the source if the server does not have it: never seen, or lost in a restart. */
  async run(connection: RedisConnection, args: readonly string[]): Promise<unknown> {
    try {
      return await connection.evalsha(this.#sha, 2, ...args)
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
      return connection.eval(this.#source, 2, ...args)
    }
  }
}

/**
 * Every script that reads or changes the log. Each runs as one step; the top of each file says what
 * it takes and returns.
 */
export const SCRIPTS = {
  open: new Script('open', { checksEpoch: false }),
  publish: new Script('publish'),
  recall: new Script('recall'),
  recallKey: new Script('recall-key'),
  findChannels: new Script('find-channels'),
  mark: new Script('mark', { takesSeq: true }),
  erase: new Script('erase'),
  getNotification: new Script('get-notification'),
  read: new Script('read', { takesSeq: true }),
  inbox: new Script('inbox', { takesSeq: true }),
  counts: new Script('counts'),
  putTicket: new Script('put-ticket'),
  takeTicket: new Script('take-ticket'),
  revoke: new Script('revoke'),
  revokedAt: new Script('revoked-at'),
  sweep: new Script('sweep'),
  import: new Script('import')
} as const

/** The name of a script in {@link SCRIPTS}. */
export type ScriptName = keyof typeof SCRIPTS

/** What every script needs to know about the log. */
export interface LogArgs {
  readonly keys: RedisKeys
  /** The epoch that the caller knows; empty before the first answer. */
  readonly epoch: string
  /** Entries that a channel keeps; 0: all. */
  readonly retentionPerChannel: number
  /** Days that entries are kept; 0: for ever. */
  readonly retentionDays: number
  /** Whether channels belong to a shard of a Redis Cluster. */
  readonly sharded: boolean
}

/** The keys and arguments that come first in every call of a script; see `prelude-log.lua`. */
export function logArgs({ keys, epoch, sharded, ...retention }: LogArgs): string[] {
  const { retentionPerChannel, retentionDays } = retention
  // Marks may be a little older than the newest entry that they are for.
  const marksMs = retentionDays === 0 ? 0 : (retentionDays + 2) * DAY_MS
  return [
    keys.state,
    keys.log,
    epoch,
    String(retentionPerChannel),
    String(marksMs),
    sharded ? 'SPUBLISH' : 'PUBLISH',
    keys.wake
  ]
}
