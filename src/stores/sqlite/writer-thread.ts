import { Worker } from 'node:worker_threads'
import { FairQueue, type Weight } from '../../bounds/fair-queue.ts'
import {
  COMPANY_MS,
  MAX_PENDING_BYTES,
  MAX_PENDING_COMMANDS,
  TRANSACTION_LIMIT
} from '../../bounds/limits.ts'
import { StoreError } from '../../log/store.ts'
import { RESULT, TURN, type WriterReport } from './commands.ts'
import type { WriterData } from './writer.ts'

/** One command on its way, with what it costs the writer. */
export interface Command extends Weight {
  /** The command as in `commands.ts`; asked for when it is its turn. */
  readonly encode: () => readonly unknown[]
  /** Takes its results from the array, where they begin, and returns where they end. */
  readonly done: (results: readonly unknown[], at: number) => number
  readonly failed: (error: Error) => void
}

/** How long an exit waits for the transaction that runs: many times what one takes, and little of what a shutdown has left. */
const PARK_MS = 500

const STOPPING = 'the process is stopping and takes no more writes'

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
  return new Worker(ENTRY, {
    execArgv: process.execArgv.filter((flag) => flag.endsWith('experimental-sqlite')),
    workerData
  })
}

/**
 * The writer's end on the main thread. Commands that come while a commit runs go together into the next one, in turns: a transaction
 * takes short requests first and one slice of a long one, so that nobody waits for more than that. A commit costs much the same for one as for fifty, so it also waits for company, briefly, where there was some
 * lately: whoever publishes one after the other, or now and then, waits for nobody.
 */
export class WriterThread {
  readonly ready: Promise<void>
  /** Why the writer is gone, once it is. */
  gone: Error | null = null
  readonly #worker: Worker
  readonly #turn: Int32Array
  readonly #onReport: (report: WriterReport, settle: () => void) => void
  readonly #onLost: (error: Error) => void
  #handedOverAt = 0
  readonly #waiting = new FairQueue<Command>(TRANSACTION_LIMIT)
  #inFlight: Command[] = []
  /** How many may be expected to go together. */
  #company = 1
  #soon: NodeJS.Immediate | undefined
  #late: NodeJS.Timeout | undefined
  #closing: (() => void) | null = null
  #abandoned = false
  readonly #ended: Promise<void>

  /**
   * `onReport` is told of each report, and calls `settle` when the answers in it are to be given. `onLost` hears that the thread ended
   * though nobody closed it.
   */
  constructor(
    data: Omit<WriterData, 'turn'>,
    onReport: (report: WriterReport, settle: () => void) => void,
    onLost: (error: Error) => void
  ) {
    this.#onReport = onReport
    this.#onLost = onLost
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
        if (code !== 0 || !this.#closing)
          this.#lost(new Error(`the writer ended with code ${code}`))
        resolve()
      })
    })
    process.on('exit', this.#park)
    worker.on('message', (report: WriterReport) =>
      this.#onReport(report, () => this.#settle(report))
    )
    worker.on('error', (error) =>
      this.#lost(error instanceof Error ? error : new Error(String(error)))
    )
  }

  /** Hands over the commands of one request, which run in order. All fail at once if too many wait, or if no writer can take them. */
  send(...commands: readonly Command[]): void {
    const refusal = this.#refusal(commands)
    if (refusal) {
      for (const command of commands) command.failed(refusal)
      return
    }
    this.#waiting.push(commands)
    this.#schedule()
  }

  /** Milliseconds that the thread has been at what it was handed last; 0 if it has answered. */
  get busyMs(): number {
    return this.#inFlight.length === 0 ? 0 : performance.now() - this.#handedOverAt
  }

  /** Takes nothing more, and fails what has not been handed to the thread. */
  abandon(): void {
    this.#abandoned = true
    for (const command of this.#waiting.clear())
      command.failed(new StoreError('unavailable', STOPPING))
    this.#finish()
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

  #refusal(commands: readonly Command[]): StoreError | null {
    if (this.gone)
      return new StoreError('unavailable', `the store has stopped: ${this.gone.message}`)
    if (this.#closing) return new StoreError('unavailable', 'the store is closed')
    if (this.#abandoned) return new StoreError('unavailable', STOPPING)
    const bytes = commands.reduce((sum, command) => sum + command.bytes, this.#waiting.bytes)
    // One alone is taken whatever its size: it has been checked before.
    const crowded =
      this.#waiting.size >= MAX_PENDING_COMMANDS ||
      (this.#waiting.size > 0 && bytes > MAX_PENDING_BYTES)
    return crowded
      ? new StoreError('unavailable', 'too many commands are waiting for the disk')
      : null
  }

  #schedule(): void {
    if (this.#inFlight.length > 0 || this.#waiting.size === 0) return
    // After the sockets that are readable now have been read: what they ask for shares one commit.
    if (this.#waiting.size >= this.#company || this.#closing)
      this.#soon ??= setImmediate(this.#flush)
    else this.#late ??= setTimeout(this.#flush, COMPANY_MS)
  }

  #flush = (): void => {
    clearImmediate(this.#soon)
    clearTimeout(this.#late)
    this.#soon = this.#late = undefined
    if (this.gone || this.#inFlight.length > 0 || this.#waiting.size === 0) return
    this.#inFlight = this.#waiting.take()
    this.#handedOverAt = performance.now()
    // Falls by half where company stays away, and rises at once.
    this.#company = Math.max(this.#inFlight.length, this.#company >> 1)
    const request: unknown[] = []
    for (const command of this.#inFlight) for (const value of command.encode()) request.push(value)
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
    if (this.#inFlight.length === 0 && this.#waiting.size === 0) this.#closing?.()
  }

  #lost(error: Error): void {
    if (this.gone) return
    this.gone = error
    const commands = [...this.#inFlight, ...this.#waiting.clear()]
    this.#inFlight = []
    for (const command of commands)
      command.failed(
        new StoreError('unavailable', `the store has stopped: ${error.message}`, { cause: error })
      )
    if (this.#closing) this.#closing()
    else this.#onLost(error)
  }
}

function failure(result: number, message: string): Error {
  if (result === RESULT.full) return new StoreError('full', `the disk is full: ${message}`)
  if (result === RESULT.unavailable)
    return new StoreError('unavailable', `the disk does not take writes: ${message}`)
  return new Error(`the store refused a command: ${message}`)
}
