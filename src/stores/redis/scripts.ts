import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { RedisConnection } from './client.ts'

const read = (name: string): string =>
  readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
const PRELUDE = ['prelude-log', 'prelude-channels', 'prelude-marks'].map(read).join('\n')
const CHECK_EPOCH = read('check-epoch')

/** A script and the name by which Redis knows it. Its number of keys is in the name of its file. */
class Script {
  readonly #source: string
  readonly #sha: string

  constructor(name: string, checksEpoch = true) {
    this.#source = `${PRELUDE}\n${checksEpoch ? CHECK_EPOCH : ''}\n${read(`${name}-2`)}`
    this.#sha = createHash('sha1').update(this.#source).digest('hex')
  }

  /** Runs it; sends its text if the server has not seen it yet, or has forgotten it with a restart. */
  async run(connection: RedisConnection, args: readonly string[]): Promise<unknown> {
    try {
      return await connection.evalsha(this.#sha, 2, ...args)
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
      return connection.eval(this.#source, 2, ...args)
    }
  }
}

/** Everything that changes or reads the log, each in one step; what they take and answer stands at the top of each file. */
export const SCRIPTS = {
  open: new Script('open', false),
  publish: new Script('publish'),
  recall: new Script('recall'),
  findChannels: new Script('find-channels'),
  mark: new Script('mark'),
  erase: new Script('erase'),
  getNotification: new Script('get-notification'),
  read: new Script('read'),
  inbox: new Script('inbox'),
  counts: new Script('counts'),
  putTicket: new Script('put-ticket'),
  takeTicket: new Script('take-ticket'),
  revoke: new Script('revoke'),
  revokedAt: new Script('revoked-at'),
  sweep: new Script('sweep'),
  import: new Script('import')
} as const

export type ScriptName = keyof typeof SCRIPTS
