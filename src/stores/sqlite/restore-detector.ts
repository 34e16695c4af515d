import { randomBytes } from 'node:crypto'
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import type { StoreWarning } from '../../log/store.ts'

/** Tells the operator that an earlier state was restored. */
export const PUT_BACK: StoreWarning = {
  code: 'store-put-back',
  message:
    'The database is not as the last process on this directory left it: the log has a new epoch.',
  action:
    'Expected after a restore, and after a power cut with STORE_SYNC=normal. Clients that have seen what is missing get a reset, the others resume.'
}

/** The file beside the database. It shows whether the database was restored from a copy since. */
interface RecordFile {
  /** Token of the process that wrote it, also written into the database at its start. */
  readonly life: string
  /** The token before, while the database may not have the new one yet. */
  readonly previous: string | null
  /** A seq that the log had reached. */
  readonly head: number
  readonly inode: number
  /** False while the process runs. */
  readonly clean: boolean
  /** How the process syncs, and so what its last commits survive. */
  readonly sync: 'full' | 'normal'
  readonly boot: string
}

/** What the database says about itself. */
export interface DatabaseState {
  /** Token of the last process; null if there was none. */
  readonly token: string | null
  readonly head: number
}

/** A short random word, for an epoch or a token. */
export const drawWord = (): string =>
  BigInt(`0x1${randomBytes(8).toString('hex')}`)
    .toString(36)
    .slice(-10)

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    // Only Linux tells one boot from another. Elsewhere every start counts as a new boot.
    return drawWord()
  }
}

/**
 * Detects whether an earlier state of the database was restored, by one small file that is replaced
 * as a whole.
 */
export class RestoreDetector {
  readonly token = drawWord()
  readonly #path: string
  readonly #database: string
  readonly #sync: 'full' | 'normal'
  readonly #boot = bootId()

  constructor(path: string, database: string, sync: 'full' | 'normal') {
    this.#path = path
    this.#database = database
    this.#sync = sync
  }

  /**
   * True if the database holds everything that the last process acknowledged, as far as the file
   * shows.
   */
  isComplete({ token, head }: DatabaseState): boolean {
    const last = this.#read()
    if (!last || token === null) return false
    if (token !== last.life && token !== last.previous) return false
    if (head < last.head || statSync(this.#database).ino !== last.inode) return false
    // Without an fsync at each commit the last ones may be lost if the machine went down as well.
    return last.sync === 'full' || last.clean || last.boot === this.#boot
  }

  /** Replaces the file. Throws the errors of the file system. */
  record(
    head: number,
    { previous = null, clean = false }: { previous?: string | null; clean?: boolean } = {}
  ): void {
    const inode = statSync(this.#database).ino
    const file: RecordFile = {
      life: this.token,
      previous,
      head,
      inode,
      clean,
      sync: this.#sync,
      boot: this.#boot
    }
    writeFileSync(`${this.#path}.tmp`, JSON.stringify(file))
    renameSync(`${this.#path}.tmp`, this.#path)
  }

  #read(): RecordFile | null {
    try {
      return JSON.parse(readFileSync(this.#path, 'utf8'))
    } catch {
      return null
    }
  }
}
