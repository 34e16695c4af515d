import { randomBytes } from 'node:crypto'
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'

/** What lies beside the database, so that a database that was put back from a copy is told from one that went on living. */
interface LifeFile {
  /** Drawn at each start and also written into the database. */
  readonly life: string
  /** The token before, while the new one may not be in the database yet. */
  readonly previous: string | null
  /** A place that the log had reached. */
  readonly head: number
  readonly inode: number
  /** False while the process runs. */
  readonly clean: boolean
  /** How it syncs, which is what its last commits were worth. */
  readonly sync: 'full' | 'normal'
  readonly boot: string
}

/** What the database says of itself. */
export interface Testimony {
  readonly life: string | null
  readonly head: number
}

/** A short random word for an epoch or a life. */
export const drawWord = (): string =>
  BigInt(`0x1${randomBytes(8).toString('hex')}`)
    .toString(36)
    .slice(-10)

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    // Elsewhere than on Linux no boot can be told from another: never the same.
    return drawWord()
  }
}

/** The proof of unbroken life: one small file, replaced as a whole. */
export class Life {
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

  /** Whether the database holds all that the last process acknowledged, as far as the file can tell. */
  unbroken({ life, head }: Testimony): boolean {
    const last = this.#read()
    if (!last || life === null) return false
    if (life !== last.life && life !== last.previous) return false
    if (head < last.head || statSync(this.#database).ino !== last.inode) return false
    // Without an fsync at each commit the last ones may be gone if the machine went down too.
    return last.sync === 'full' || last.clean || last.boot === this.#boot
  }

  /** Replaces the file. Throws as the file system does. */
  write(
    head: number,
    { previous = null, clean = false }: { previous?: string | null; clean?: boolean } = {}
  ): void {
    const inode = statSync(this.#database).ino
    const file: LifeFile = {
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

  #read(): LifeFile | null {
    try {
      return JSON.parse(readFileSync(this.#path, 'utf8')) as LifeFile
    } catch {
      return null
    }
  }
}
