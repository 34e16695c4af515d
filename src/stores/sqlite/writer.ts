import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { performance } from 'node:perf_hooks'
import { parentPort, workerData } from 'node:worker_threads'
import { MAX_TIMER_MS, WAL_BYTES } from '../../bounds/limits.ts'
import type { MarkOp } from '../../log/event.ts'
import { Publisher } from './append.ts'
import {
  ARGUMENTS,
  COMMAND,
  ITEM_VALUES,
  type MarkProgress,
  RESULT,
  TURN,
  type WriterReport,
  type WriterRequest
} from './commands.ts'
import { extendedCode, openDatabase, SQLITE, sqliteCode } from './driver.ts'
import { Marker } from './marks.ts'
import { Reach } from './reach.ts'
import { Remover } from './removal.ts'
import { Retention } from './retention.ts'
import { Tickets } from './tickets.ts'
import { Ledger } from './write-context.ts'

/** What the worker thread is started with. */
export interface WriterData {
  readonly path: string
  readonly sync: 'full' | 'normal'
  readonly retentionDays: number
  readonly retentionPerChannel: number
  /** Place that the first event of this life comes after; null in a new log. */
  readonly leap: number | null
  /** One of {@link TURN}. */
  readonly turn: Int32Array
}

const HOUR_MS = 60 * 60 * 1000
/** Pause before own work is tried again after a failure; commands do not wait for it. */
const RETRY_MS = 1000
/** Less room than this behind a failed write means that the disk is full, whatever SQLite called it. */
const FULL_BYTES = 1024 * 1024

const port = parentPort!
const options = workerData as WriterData
const db = openDatabase(options.path, { timeout: 5000 })
db.exec(
  `PRAGMA synchronous = ${options.sync}; PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 4000;
   PRAGMA journal_size_limit = ${WAL_BYTES}; PRAGMA temp_store = MEMORY`
)
const begin = db.prepare('BEGIN')
const commit = db.prepare('COMMIT')
const ledger = new Ledger(db, options.retentionPerChannel, options.leap)
const publisher = new Publisher(ledger)
const reach = new Reach(ledger)
const marker = new Marker(ledger, reach)
const remover = new Remover(ledger, reach)
const tickets = new Tickets(ledger)
const retention = new Retention(ledger, {
  days: options.retentionDays,
  perChannel: options.retentionPerChannel
})
let commitMs = 0
let trouble: string | null = null

/** One transaction, or nothing of it. */
function transact(work: () => void): void {
  if (Atomics.compareExchange(options.turn, 0, TURN.idle, TURN.busy) === TURN.over)
    throw new Error('the process ends')
  try {
    commitAll(work)
  } finally {
    Atomics.store(options.turn, 0, TURN.idle)
    Atomics.notify(options.turn, 0)
  }
}

function commitAll(work: () => void): void {
  ledger.now = Date.now()
  begin.run()
  try {
    if (ledger.nextExpiry <= ledger.now) retention.expire()
    work()
    ledger.save()
    const started = performance.now()
    commit.run()
    commitMs = performance.now() - started
  } catch (error) {
    try {
      db.exec('ROLLBACK')
    } catch {
      // SQLite has rolled back by itself, as it does for some errors of the disk.
    }
    ledger.rollback()
    ledger.nextExpiry = Math.min(ledger.nextExpiry, ledger.now)
    throw error
  }
  ledger.committed()
  trouble = null
}

function report(answers: boolean, results: readonly unknown[]): void {
  const dropped = ledger.dropped.size > 0 ? [...ledger.dropped] : null
  ledger.dropped.clear()
  port.postMessage({
    answers,
    results,
    head: ledger.head,
    floor: ledger.floor,
    commitMs,
    dropped,
    trouble
  } satisfies WriterReport)
  commitMs = 0
}

/** Where the command after the one at `at` begins. */
function next(request: readonly unknown[], at: number): number {
  const command = request[at] as number
  return (
    at +
    1 +
    ARGUMENTS[command]! +
    (command === COMMAND.publish ? (request[at + 1] as number) * ITEM_VALUES : 0)
  )
}

function run(r: readonly unknown[], at: number, results: unknown[]): void {
  results.push(RESULT.done)
  switch (r[at]) {
    case COMMAND.publish: {
      const end = next(r, at)
      for (let item = at + 2; item < end; item += ITEM_VALUES) publisher.publish(r, item, results)
      return
    }
    case COMMAND.recall:
      return remover.recall(r[at + 1] as string, results)
    case COMMAND.mark:
      return marker.mark(
        r[at + 1] as string,
        r[at + 2] as MarkOp,
        r[at + 3] as number | null,
        r[at + 4] as string[],
        r[at + 5] as [number[], string[]],
        r[at + 6] as MarkProgress,
        results
      )
    case COMMAND.erase:
      return remover.erase(r[at + 1] as string, results)
    case COMMAND.putTicket:
      return tickets.put(
        r[at + 1] as string,
        r[at + 2] as string,
        r[at + 3] as string,
        r[at + 4] as number
      )
    case COMMAND.takeTicket:
      return tickets.take(r[at + 1] as string, results)
    case COMMAND.revoke:
      return tickets.revoke(r[at + 1] as string)
  }
}

/** The failure as the caller is to hear it. Anything that is not the world's fault is a bug of ours, and told apart. */
function classify(error: unknown): number {
  const code = sqliteCode(error)
  if (code === SQLITE.full || extendedCode(error) === SQLITE.ioerrShmSize) return RESULT.full
  if (
    code !== SQLITE.ioerr &&
    code !== SQLITE.cantopen &&
    code !== SQLITE.readonly &&
    code !== SQLITE.busy &&
    code !== SQLITE.corrupt
  )
    return RESULT.broken
  try {
    const { bavail, bsize } = statfsSync(dirname(options.path))
    if (bavail * bsize < FULL_BYTES) return RESULT.full
  } catch {
    // The directory itself is out of reach.
  }
  return RESULT.unavailable
}

/** Runs the commands together; if that fails for a fault of one of them, or for want of room, each by itself: the others do not suffer. */
function answer(request: readonly unknown[]): void {
  const results: unknown[] = []
  try {
    transact(() => {
      for (let at = 0; at < request.length; at = next(request, at)) run(request, at, results)
    })
  } catch (error) {
    results.length = 0
    const kind = classify(error)
    if (kind !== RESULT.broken) trouble = (error as Error).message
    const alone = kind !== RESULT.unavailable && next(request, 0) < request.length
    if (alone) answerEach(request, results)
    else
      for (let at = 0; at < request.length; at = next(request, at))
        results.push(kind, (error as Error).message)
  }
  report(true, results)
  // Messages that follow each other fast are taken in one turn of the loop; an immediate would wait for the last of them.
  if (soon) tidy()
  else arrange()
}

/** Each by itself, in order. What is as large as one for which there was no room is not tried. */
function answerEach(request: readonly unknown[], results: unknown[]): void {
  let room = Number.POSITIVE_INFINITY
  let full = ''
  for (let at = 0; at < request.length; at = next(request, at)) {
    const size = sizeOf(request, at)
    if (size >= room) {
      results.push(RESULT.full, full)
      continue
    }
    const start = results.length
    answerAlone(request, at, results)
    if (results[start] !== RESULT.full) continue
    room = size
    full = results[start + 1] as string
  }
  if (full !== '') trouble = full
}

/** Characters that it wants to store, roughly. */
function sizeOf(request: readonly unknown[], at: number): number {
  let size = 0
  for (let i = at; i < next(request, at); i++)
    size += typeof request[i] === 'string' ? (request[i] as string).length : 0
  return size
}

function answerAlone(request: readonly unknown[], at: number, results: unknown[]): void {
  const start = results.length
  const dropped = [...ledger.dropped]
  try {
    transact(() => run(request, at, results))
  } catch (error) {
    results.length = start
    results.push(classify(error), (error as Error).message)
  }
  for (const channel of dropped) ledger.dropped.add(channel)
}

let timer: NodeJS.Timeout | undefined
let soon: NodeJS.Immediate | undefined

/** Own work: what expired, and a slice of retention. */
function tidy(): void {
  clearImmediate(soon)
  soon = undefined
  let failed = false
  try {
    transact(() => {
      if (retention.busy) retention.slice()
    })
  } catch (error) {
    failed = true
    trouble = (error as Error).message
  }
  report(false, [])
  arrange(failed)
}

/** Comes back for own work: at once between two batches, or when the next entry expires. */
function arrange(failed = false): void {
  clearTimeout(timer)
  if (soon) return
  if (failed) timer = setTimeout(tidy, RETRY_MS)
  else if (retention.busy || ledger.nextExpiry <= Date.now()) soon = setImmediate(tidy)
  else if (ledger.nextExpiry < Number.POSITIVE_INFINITY)
    timer = setTimeout(tidy, Math.min(ledger.nextExpiry - Date.now(), MAX_TIMER_MS))
}

const hourly = setInterval(() => {
  retention.startRound()
  arrange()
}, HOUR_MS)

port.on('message', (request: WriterRequest) => {
  if (request !== 'close') return answer(request)
  clearInterval(hourly)
  clearTimeout(timer)
  if (soon) clearImmediate(soon)
  try {
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  } catch {
    // What is in the WAL is durable there, too.
  }
  db.close()
  port.close()
})

retention.startRound()
report(false, [])
arrange()
