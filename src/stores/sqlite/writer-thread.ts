import { Worker } from 'node:worker_threads'
import { COMPANY_MS, MAX_PENDING_COMMANDS } from '../../core/limits.ts'
import { StoreError } from '../../core/store.ts'
import { RESULT, TURN, type WriterReport } from './commands.ts'
import type { WriterData } from './writer.ts'

/** One command on its way. */
export interface Command {
  /** The command as in `commands.ts`. */
  readonly request: readonly unknown[]
  /** Takes its results from the array, where they begin, and returns where they end. */
  readonly done: (results: readonly unknown[], at: number) => number
  readonly failed: (error: Error) => void
}

/** How long an exit waits for the transaction that runs. */
const PARK_MS = 2000

const SOURCE = import.meta.url.endsWith('.ts')
const ENTRY = new URL(SOURCE ? './writer.ts' : './writer.js', import.meta.url)

function startWorker(workerData: WriterData): Worker {
  // From source, TypeScript has to be taught to the thread first; without the loaders of a test runner, which start in seconds.
  if (SOURCE) {
    const tsx = JSON.stringify(import.meta.resolve('tsx/esm/api'))
    const source = `import(${tsx}).then((tsx) => { tsx.register(); return import(${JSON.stringify(ENTRY.href)}) })`
    return new Worker(source, { eval: true, execArgv: [], workerData })
  }
  // Nor what the process was made to import first, be it to instrument requests or by a test runner: the thread serves none, and starts
  // with each opening. Most other flags are the process' alone, and a thread refuses them; which SQLite there is may depend on one, and
  // two in one process would break each other's locks.
  return new Worker(ENTRY, { execArgv: process.execArgv.filter((flag) => flag.endsWith('experimental-sqlite')), workerData })
}

/**
 * The writer's end on the main thread. Commands that come while a commit runs go together into the next one; their number
 * is bounded. A commit costs much the same for one as for fifty, so it also waits for company, briefly, where there was some
 * lately: whoever publishes one after the other, or now and then, waits for nobody.
 */
export class WriterThread {
  readonly ready: Promise<void>
  /** Why the writer is gone, once it is. */
  gone: Error | null = null
  readonly #worker: Worker
  readonly #turn: Int32Array
  readonly #onReport: (report: WriterReport, settle: () => void) => void
  #waiting: Command[] = []
  #inFlight: Command[] = []
  /** How many may be expected to go together. */
  #company = 1
  #soon: NodeJS.Immediate | undefined
  #late: NodeJS.Timeout | undefined
  #closing: (() => void) | null = null
  readonly #ended: Promise<void>

  /** `onReport` is told of each report, and calls `settle` when the answers in it are to be given. */
  constructor(data: Omit<WriterData, 'turn'>, onReport: (report: WriterReport, settle: () => void) => void) {
    this.#onReport = onReport
    const turn = new Int32Array(new SharedArrayBuffer(4))
    this.#turn = turn
    const worker = startWorker({ ...data, turn })
    this.#worker = worker
    this.ready = new Promise((resolve, reject) => {
      worker.once('message', () => resolve())
      worker.once('error', reject)
      worker.once('exit', () => reject(new Error('the writer ended before it was ready')))
    })
    this.#ended = new Promise((resolve) => {
      worker.once('exit', (code) => {
        process.off('exit', this.#park)
        if (code !== 0 || !this.#closing) this.#lost(new Error(`the writer ended with code ${code}`))
        resolve()
      })
    })
    process.on('exit', this.#park)
    worker.on('message', (report: WriterReport) => this.#onReport(report, () => this.#settle(report)))
    worker.on('error', (error) => this.#lost(error instanceof Error ? error : new Error(String(error))))
  }

  /** Hands a command over. Fails at once where too many wait, or nobody is there to take it. */
  send(command: Command): void {
    if (this.gone || this.#closing) {
      command.failed(
        new StoreError('unavailable', this.gone ? `the store has stopped: ${this.gone.message}` : 'the store is closed')
      )
    } else if (this.#waiting.length >= MAX_PENDING_COMMANDS) {
      command.failed(new StoreError('unavailable', 'too many commands are waiting for the disk'))
    } else {
      this.#waiting.push(command)
      this.#schedule()
    }
  }

  /** Finishes what was sent, then ends the thread. */
  async close(): Promise<void> {
    if (!this.gone) {
      await new Promise<void>((resolve) => {
        this.#closing = resolve
        this.#schedule()
        this.#finish()
      })
      if (!this.gone) this.#worker.postMessage('close')
    }
    await this.#ended
  }

  #schedule(): void {
    if (this.#inFlight.length > 0 || this.#waiting.length === 0) return
    // After the sockets that are readable now have been read: what they ask for shares one commit.
    if (this.#waiting.length >= this.#company || this.#closing) this.#soon ??= setImmediate(this.#flush)
    else this.#late ??= setTimeout(this.#flush, COMPANY_MS)
  }

  #flush = (): void => {
    clearImmediate(this.#soon)
    clearTimeout(this.#late)
    this.#soon = this.#late = undefined
    if (this.gone || this.#inFlight.length > 0 || this.#waiting.length === 0) return
    // Falls by half where company stays away, and rises at once.
    this.#company = Math.max(this.#waiting.length, this.#company >> 1)
    this.#inFlight = this.#waiting
    this.#waiting = []
    const request: unknown[] = []
    for (const command of this.#inFlight) for (const value of command.request) request.push(value)
    this.#worker.postMessage(request)
  }

  #settle({ answers, results }: WriterReport): void {
    if (!answers) return
    const commands = this.#inFlight
    this.#inFlight = []
    let at = 0
    for (const command of commands) {
      const result = results[at++]
      if (result === RESULT.done) at = command.done(results, at)
      else command.failed(failure(result as number, String(results[at++])))
    }
    this.#schedule()
    this.#finish()
  }

  /** An exit at once must not tear the thread out of a running transaction: the native code would abort the process. */
  #park = (): void => {
    while (Atomics.compareExchange(this.#turn, 0, TURN.idle, TURN.over) === TURN.busy) {
      if (Atomics.wait(this.#turn, 0, TURN.busy, PARK_MS) === 'timed-out') return
    }
  }

  #finish(): void {
    if (this.#inFlight.length === 0 && this.#waiting.length === 0) this.#closing?.()
  }

  #lost(error: Error): void {
    if (this.gone) return
    this.gone = error
    const commands = [...this.#inFlight, ...this.#waiting]
    this.#inFlight = []
    this.#waiting = []
    for (const command of commands)
      command.failed(new StoreError('unavailable', `the store has stopped: ${error.message}`, { cause: error }))
    this.#closing?.()
  }
}

function failure(result: number, message: string): Error {
  if (result === RESULT.full) return new StoreError('full', `the disk is full: ${message}`)
  if (result === RESULT.unavailable) return new StoreError('unavailable', `the disk does not take writes: ${message}`)
  return new Error(`the store refused a command: ${message}`)
}
