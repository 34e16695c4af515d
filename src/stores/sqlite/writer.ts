import { performance } from 'node:perf_hooks'
import { parentPort, workerData } from 'node:worker_threads'
import { MAX_TIMER_MS, WAL_BYTES } from '../../bounds/limits.ts'
import { Append } from './append.ts'
import {
  type Handlers,
  TURN,
  type WriterData,
  type WriterReport,
  type WriterRequest
} from './commands.ts'
import { openDatabase } from './driver.ts'
import type { Flat } from './flat-encoding.ts'
import { MarkTable } from './marks.ts'
import { Removal } from './removal.ts'
import { Retention } from './retention.ts'
import { decodeRequest, encodeFailure, type Job } from './thread-messages.ts'
import { Tickets } from './tickets.ts'
import { walSync } from './wal-sync.ts'
import { Watermarks } from './watermarks.ts'
import { WriteContext } from './write-context.ts'
import { failureOf, messageOf } from './write-failure.ts'

// The writer thread: the only writer of the database. It runs each request in one transaction, and
// work of its own in between.

const HOUR_MS = 60 * 60 * 1000
/** Pause before own work is tried again after a failure. Commands do not wait for it. */
const RETRY_MS = 1000

if (!parentPort) throw new Error('writer.ts runs as a worker thread')
const port = parentPort
const options: WriterData = workerData
const db = openDatabase(options.path, { timeout: 5000 })
// `normal`: SQLite syncs at checkpoints, and `makeDurable` syncs each commit.
db.exec(
  `PRAGMA synchronous = normal; PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 4000;
   PRAGMA journal_size_limit = ${WAL_BYTES}; PRAGMA temp_store = MEMORY`
)
const begin = db.prepare('BEGIN')
const commit = db.prepare('COMMIT')
const context = new WriteContext(db, options.retentionPerChannel, options.leap)
// Now that the database was read, there is a write-ahead log.
const makeDurable = options.sync === 'full' ? walSync(options.path) : () => {}
const append = new Append(context)
const watermarks = new Watermarks(context)
const marks = new MarkTable(context, watermarks)
const removal = new Removal(context, watermarks)
const tickets = new Tickets(context)
const retention = new Retention(context, {
  days: options.retentionDays,
  perChannel: options.retentionPerChannel
})
const handlers: Handlers = {
  publish: ({ items }) => items.map((item) => append.publish(item)),
  recall: (command) => removal.recall(command),
  recallKey: (command) => removal.recallKey(command),
  mark: (command) => marks.mark(command),
  markUpTo: (command) => marks.markUpTo(command),
  erase: (command) => removal.erase(command),
  putTicket: (command) => tickets.put(command),
  takeTicket: (command) => tickets.take(command),
  revoke: (command) => tickets.revoke(command)
}
let commitMs = 0
/** Whether there are commits that are not durable yet. */
let unsynced = false
let trouble: string | null = null
let timer: NodeJS.Timeout | undefined
let nextTidy: NodeJS.Immediate | undefined

/** Runs `work` while an immediate exit of the process waits for it. Throws if the process exits already. */
function inTurn(work: () => void): void {
  if (Atomics.compareExchange(options.turn, 0, TURN.idle, TURN.busy) === TURN.over)
    throw new Error('the process ends')
  try {
    work()
  } finally {
    Atomics.store(options.turn, 0, TURN.idle)
    Atomics.notify(options.turn, 0)
  }
}

/** Runs one transaction. If it throws, nothing of it remains. */
const transact = (work: () => void): void => inTurn(() => commitAll(work))

function commitAll(work: () => void): void {
  context.now = Date.now()
  begin.run()
  try {
    if (context.nextExpiry <= context.now) retention.expire()
    work()
    context.save()
    const started = performance.now()
    commit.run()
    unsynced = true
    commitMs = performance.now() - started
  } catch (error) {
    try {
      db.exec('ROLLBACK')
    } catch {
      // After some errors of the disk SQLite has rolled back by itself.
    }
    context.rollback()
    context.nextExpiry = Math.min(context.nextExpiry, context.now)
    throw error
  }
  context.committed()
  trouble = null
}

/**
 * Makes what was committed durable, then reports it. If the disk fails to sync, nobody knows what
 * it holds, and a second attempt would not tell: the thread ends, and the process with it.
 */
function report(answers: Flat | null): void {
  if (unsynced) {
    const started = performance.now()
    makeDurable()
    unsynced = false
    commitMs += performance.now() - started
  }
  port.postMessage({
    answers,
    head: context.head,
    floor: context.floor,
    commitMs,
    dropped: [...context.dropped],
    trouble
  } satisfies WriterReport)
  context.dropped.clear()
  commitMs = 0
}

/**
 * Runs the commands in one transaction. If that fails because one of them is at fault, or because
 * the disk is full, each runs by itself, so that the others succeed.
 */
function answerAll(jobs: readonly Job[]): Flat {
  const answers: Flat = []
  try {
    transact(() => {
      for (const job of jobs) job.run(answers)
    })
    return answers
  } catch (error) {
    const failure = failureOf(error, options.path)
    if (failure.kind !== 'broken') trouble = failure.message
    if (failure.kind !== 'unavailable' && jobs.length > 1) return answerEach(jobs)
    const failures: Flat = []
    for (const _ of jobs) encodeFailure(failure, failures)
    return failures
  }
}

/**
 * Runs each command by itself, in order. Once one did not fit on the disk, those that are as large
 * are not tried.
 */
function answerEach(jobs: readonly Job[]): Flat {
  const answers: Flat = []
  let room = Number.POSITIVE_INFINITY
  let full: string | null = null
  for (const job of jobs) {
    if (full !== null && job.size >= room) {
      encodeFailure({ kind: 'full', message: full }, answers)
      continue
    }
    const dropped = [...context.dropped]
    const answer: Flat = []
    try {
      transact(() => job.run(answer))
      for (const value of answer) answers.push(value)
    } catch (error) {
      const failure = failureOf(error, options.path)
      encodeFailure(failure, answers)
      if (failure.kind === 'full') {
        room = job.size
        full = failure.message
      }
    }
    // A rollback forgets them, but what earlier transactions dropped is not reported yet.
    for (const channel of dropped) context.dropped.add(channel)
  }
  if (full !== null) trouble = full
  return answers
}

/** Own work: removes what expired, and one slice of what retention has to remove. */
function tidy(): void {
  clearImmediate(nextTidy)
  nextTidy = undefined
  let failed = false
  try {
    transact(() => {
      if (retention.busy) retention.slice()
    })
  } catch (error) {
    failed = true
    trouble = messageOf(error)
  }
  report(null)
  schedule(failed)
}

/** Schedules own work: at once between two requests, or when the next entry expires. */
function schedule(failed = false): void {
  clearTimeout(timer)
  if (nextTidy) return
  if (failed) timer = setTimeout(tidy, RETRY_MS)
  else if (retention.busy || context.nextExpiry <= Date.now()) nextTidy = setImmediate(tidy)
  else if (context.nextExpiry < Number.POSITIVE_INFINITY)
    timer = setTimeout(tidy, Math.min(context.nextExpiry - Date.now(), MAX_TIMER_MS))
}

const hourly = setInterval(() => {
  retention.startRound()
  schedule()
}, HOUR_MS)

function close(): void {
  clearInterval(hourly)
  clearTimeout(timer)
  if (nextTidy) clearImmediate(nextTidy)
  inTurn(() => {
    try {
      db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    } catch {
      // What is in the write-ahead log is durable as well.
    }
    db.close()
  })
  port.close()
}

port.on('message', (request: WriterRequest) => {
  if (request === 'close') return close()
  report(answerAll(decodeRequest(request, handlers)))
  // Messages that arrive in quick succession are taken in one turn of the loop, so an immediate
  // would wait for the last of them.
  if (nextTidy) tidy()
  else schedule()
})

retention.startRound()
report(null)
schedule()
