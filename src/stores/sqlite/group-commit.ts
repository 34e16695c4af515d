import { Worker } from 'node:worker_threads'
import { FairQueue, type Weight } from '../../bounds/fair-queue.ts'
import {
  GROUP_COMMIT_MS,
  MAX_PENDING_BYTES,
  MAX_PENDING_COMMANDS,
  TRANSACTION_LIMIT
} from '../../bounds/limits.ts'
import { StoreError } from '../../log/store.ts'
import { type Failure, TURN, type WriterData, type WriterReport } from './commands.ts'
import { type Flat, FlatReader } from './flat-encoding.ts'
import { decodeFailure } from './thread-messages.ts'

/** A command on its way to the writer, with its cost. */
export interface PendingCommand extends Weight {
  /** Appends the command to a request; called when it is its turn. */
  encode(to: Flat): void
  /** Reads its result from the answers. */
  done(from: FlatReader): void
  failed(error: Error): void
}

/**
 * How long an exit waits for the running transaction: many times its usual length, and little of
 * what a shutdown has left.
 */
const EXIT_WAIT_MS = 500

const STOPPING = 'the process is stopping and accepts no more writes'

const SOURCE = import.meta.url.endsWith('.ts')
const ENTRY = new URL(SOURCE ? './writer.ts' : './writer.js', import.meta.url)

function startWorker(workerData: WriterData): Worker {
  // From source, the thread first needs a TypeScript loader, and not those of a test runner, which
  // take seconds to start.
  if (SOURCE) {
    const tsx = JSON.stringify(import.meta.resolve('tsx/esm/api'))
    const source = `import(${tsx}).then((tsx) => { tsx.register(); return import(${JSON.stringify(ENTRY.href)}) })`
    return new Worker(source, { eval: true, execArgv: [], workerData })
  }
  // Without the modules that the process preloads, such as instrumentation: the thread serves no
  // requests. A thread refuses most other flags. It needs the one that selects SQLite: two versions
  // in one process would break each other's locks.
  return new Worker(ENTRY, {
    execArgv: process.execArgv.filter((flag) => flag.endsWith('experimental-sqlite')),
    workerData
  })
}

/**
 * The main thread's end of the writer. Commands that arrive while a commit runs go together into
 * the next transaction: short requests first, then one slice of a long one, so that none waits for
 * more than that. A commit costs about the same for one command as for fifty, so the next one also
 * waits until there are as many commands as the last one had, but never long. A producer that
 * publishes one at a time never waits.
 */
export class GroupCommit {
  readonly ready: Promise<void>
  readonly #worker: Worker
  readonly #turn = new Int32Array(new SharedArrayBuffer(4))
  readonly #onReport: (report: WriterReport, settle: () => void) => void
  readonly #onLost: (error: Error) => void
  readonly #waiting = new FairQueue<PendingCommand>(TRANSACTION_LIMIT)
  readonly #ended: Promise<void>
  #inFlight: PendingCommand[] = []
  #sentAt = 0
  /** Group commit: how many commands to wait for. */
  #groupSize = 1
  /** Waits until the sockets that are readable now have been read. */
  #afterReads: NodeJS.Immediate | undefined
  /** Waits for the group to fill, for {@link GROUP_COMMIT_MS} at most. */
  #afterWindow: NodeJS.Timeout | undefined
  #onIdle: (() => void) | null = null
  #abandoned = false
  #gone: Error | null = null

  /**
   * `onReport` receives each report, and calls `settle` when the commands may have their answers.
   * `onLost` is called if the thread ends before it was closed.
   */
  constructor(
    data: Omit<WriterData, 'turn'>,
    onReport: (report: WriterReport, settle: () => void) => void,
    onLost: (error: Error) => void
  ) {
    this.#onReport = onReport
    this.#onLost = onLost
    const worker = startWorker({ ...data, turn: this.#turn })
    this.#worker = worker
    this.ready = new Promise((resolve, reject) => {
      worker.once('message', () => resolve())
      worker.once('error', reject)
      worker.once('exit', () => reject(new Error('the writer ended before it was ready')))
    })
    this.#ended = new Promise((resolve) => {
      worker.once('exit', (code) => {
        process.off('exit', this.#waitForTransaction)
        if (code !== 0 || !this.#onIdle) this.#lost(new Error(`the writer ended with code ${code}`))
        resolve()
      })
    })
    process.on('exit', this.#waitForTransaction)
    worker.on('message', (report: WriterReport) =>
      this.#onReport(report, () => this.#settle(report))
    )
    worker.on('error', (error) =>
      this.#lost(error instanceof Error ? error : new Error(String(error)))
    )
  }

  /** Why the writer is gone; null while it lives. */
  get gone(): Error | null {
    return this.#gone
  }

  /**
   * Sends the commands of one request, which run in order. All fail at once if too many wait, or if
   * there is no writer.
   */
  send(commands: readonly PendingCommand[]): void {
    const refusal = this.#refusal(commands)
    if (refusal) {
      for (const command of commands) command.failed(refusal)
      return
    }
    this.#waiting.push(commands)
    this.#schedule()
  }

  /** Milliseconds since the request in flight was sent; 0 if there is none. */
  get busyMs(): number {
    return this.#inFlight.length === 0 ? 0 : performance.now() - this.#sentAt
  }

  /** Accepts no more commands, and fails those that were not sent yet. */
  abandon(): void {
    this.#abandoned = true
    for (const command of this.#waiting.clear())
      command.failed(new StoreError('unavailable', STOPPING))
    this.#reportIdle()
  }

  /** Finishes the commands it has, then ends the thread. */
  async close(): Promise<void> {
    if (!this.#gone) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve
        this.#schedule()
        this.#reportIdle()
      })
      if (!this.#gone) this.#worker.postMessage('close')
    }
    await this.#ended
  }

  #refusal(commands: readonly PendingCommand[]): StoreError | null {
    if (this.#gone) return stopped(this.#gone)
    if (this.#onIdle) return new StoreError('unavailable', 'the store is closed')
    if (this.#abandoned) return new StoreError('unavailable', STOPPING)
    const bytes = commands.reduce((sum, command) => sum + command.bytes, this.#waiting.bytes)
    // A single request is accepted whatever its size: the route has checked it.
    const crowded =
      this.#waiting.size >= MAX_PENDING_COMMANDS ||
      (this.#waiting.size > 0 && bytes > MAX_PENDING_BYTES)
    return crowded
      ? new StoreError('unavailable', 'too many commands are waiting for the disk')
      : null
  }

  #schedule(): void {
    if (this.#inFlight.length > 0 || this.#waiting.size === 0) return
    if (this.#waiting.size >= this.#groupSize || this.#onIdle)
      this.#afterReads ??= setImmediate(this.#flush)
    else this.#afterWindow ??= setTimeout(this.#flush, GROUP_COMMIT_MS)
  }

  #flush = (): void => {
    clearImmediate(this.#afterReads)
    clearTimeout(this.#afterWindow)
    this.#afterReads = this.#afterWindow = undefined
    if (this.#gone || this.#inFlight.length > 0 || this.#waiting.size === 0) return
    this.#inFlight = this.#waiting.take()
    this.#sentAt = performance.now()
    // Rises at once, and falls by half when fewer commands come.
    this.#groupSize = Math.max(this.#inFlight.length, this.#groupSize >> 1)
    const request: Flat = []
    for (const command of this.#inFlight) command.encode(request)
    this.#worker.postMessage(request)
  }

  #settle({ answers }: WriterReport): void {
    if (!answers) return
    const commands = this.#inFlight
    this.#inFlight = []
    const from = new FlatReader(answers)
    for (const command of commands) {
      const failure = decodeFailure(from)
      if (failure) command.failed(errorOf(failure))
      else command.done(from)
    }
    this.#schedule()
    this.#reportIdle()
  }

  /**
   * An immediate exit must not end the thread in a transaction: the native code would abort the
   * process.
   */
  #waitForTransaction = (): void => {
    while (Atomics.compareExchange(this.#turn, 0, TURN.idle, TURN.over) === TURN.busy) {
      if (Atomics.wait(this.#turn, 0, TURN.busy, EXIT_WAIT_MS) === 'timed-out') return
    }
  }

  #reportIdle(): void {
    if (this.#inFlight.length === 0 && this.#waiting.size === 0) this.#onIdle?.()
  }

  #lost(error: Error): void {
    if (this.#gone) return
    this.#gone = error
    const commands = [...this.#inFlight, ...this.#waiting.clear()]
    this.#inFlight = []
    for (const command of commands) command.failed(stopped(error))
    if (this.#onIdle) this.#onIdle()
    else this.#onLost(error)
  }
}

const stopped = (cause: Error): StoreError =>
  new StoreError('unavailable', `the store has stopped: ${cause.message}`, { cause })

function errorOf({ kind, message }: Failure): Error {
  if (kind === 'full') return new StoreError('full', `the disk is full: ${message}`)
  if (kind === 'unavailable')
    return new StoreError('unavailable', `the disk does not accept writes: ${message}`)
  return new Error(`the store refused a command: ${message}`)
}
