import { readdir, stat, statfs } from 'node:fs/promises'
import type { HostFigures } from './health-inputs.ts'

/** What the operating system says of this process and of the disk of its store. */
export class Host implements HostFigures {
  openFiles: HostFigures['openFiles']
  disk: HostFigures['disk']
  readonly #dataDir: string | undefined
  #looking: Promise<void> | undefined

  /** `dataDir`: where the store writes; undefined: it writes no files. */
  constructor(dataDir: string | undefined) {
    this.#dataDir = dataDir
  }

  /** Refreshes the figures. Never rejects; concurrent calls share one look. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async #look(): Promise<void> {
    const [openFiles, disk] = await Promise.all([
      countFiles(),
      this.#dataDir === undefined ? undefined : diskOf(this.#dataDir)
    ])
    this.openFiles = openFiles
    this.disk = disk
  }
}

/**
 * Linux only. Newer kernels give the number as the size of the directory; older ones list the
 * names.
 */
async function countFiles(): Promise<number | undefined> {
  try {
    const { size } = await stat('/proc/self/fd')
    return size > 0 ? size : (await readdir('/proc/self/fd')).length
  } catch {
    return undefined // not Linux
  }
}

async function diskOf(directory: string): Promise<HostFigures['disk']> {
  try {
    const { bsize, blocks, bavail } = await statfs(directory)
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize }
  } catch {
    return undefined // the file system does not say
  }
}
