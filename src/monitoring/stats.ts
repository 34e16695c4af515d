import { HISTORY_STEP_MS } from '../bounds/limits.ts'
import { ConnectionCounts } from './connection-counts.ts'
import { type ConnectionSummary, NO_CONNECTIONS } from './connection-summary.ts'
import { Count } from './counts.ts'
import { ErrorCounts } from './error-counts.ts'
import { History } from './history.ts'
import { Latency } from './latency.ts'
import { ProcessLoad } from './process-load.ts'
import { PublishCounts } from './publish-counts.ts'
import { Rates } from './rates.ts'

/** How often something happened in the last minute. */
export interface PerMinute {
  readonly errors: number
  readonly resets: number
  /** Cursors of this log that point at an event it does not have. */
  readonly undone: number
  /** Connections closed as `slow`. */
  readonly slowCloses: number
  /** Streams and sockets that arrived, admitted or refused. */
  readonly arrivals: number
  /** The most connections that were open at once. */
  readonly mostActive: number
}

/** What a second of figures needs from elsewhere. */
export interface Ticking {
  /** Walks over the connections. */
  readonly summarize: () => ConnectionSummary
  /** Runs once the figures are those of this second. */
  readonly everySecond: () => void
}

/** Names that metrics list before they occur. */
export interface KnownNames {
  readonly problems: readonly string[]
  readonly errorCodes: readonly string[]
}

/** All that is counted and measured in this process, each part in a class of its own. */
export class Stats {
  readonly connections = new ConnectionCounts()
  readonly publishes: PublishCounts
  readonly errors: ErrorCounts
  /** Frames written, over all connections. */
  readonly frames = new Count()
  /** Frames written to catch up connections that came back. */
  readonly replayedFrames = new Count()
  readonly resets = new Count()
  /** Cursors of this log that point at an event it does not have. */
  readonly undoneCursors = new Count()
  /** From acceptance to the write to the connections. */
  readonly publishToWrite = new Latency()
  /** From a publish request to its durability. */
  readonly publishAck = new Latency()
  /** Commits of the store; a store may have none. */
  readonly commit = new Latency()
  readonly load = new ProcessLoad()
  readonly history = new History()
  readonly #storeFailures = new Count()
  #lastStoreFailure: string | undefined
  #summary = NO_CONNECTIONS
  #timer: NodeJS.Timeout | undefined
  #ticks = 0
  readonly #rates = new Rates(() => ({
    frames: this.frames.value,
    accepted: this.publishes.accepted.value,
    errors: this.errors.total,
    resets: this.resets.value,
    undone: this.undoneCursors.value,
    slowCloses: this.connections.closedBy.of('slow'),
    arrivals: this.connections.arrivals.value,
    storeFailures: this.#storeFailures.value
  }))

  constructor({ problems, errorCodes }: KnownNames) {
    this.publishes = new PublishCounts(problems)
    this.errors = new ErrorCounts(errorCodes)
  }

  start({ summarize, everySecond }: Ticking): void {
    if (this.#timer) return
    this.load.start()
    this.#rates.sample(performance.now())
    this.#timer = setInterval(() => {
      this.#second(summarize())
      everySecond()
    }, 1000).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.load.stop()
  }

  /** The store failed a request. */
  storeFailed(message: string): void {
    this.#storeFailures.add()
    this.#lastStoreFailure = message
  }

  /** Why the store failed its last request; undefined: it failed none. */
  get lastStoreFailure(): string | undefined {
    return this.#lastStoreFailure
  }

  /** Requests that the store failed in the last ten seconds. */
  get storeFailuresLately(): number {
    return this.#rates.inTenSeconds('storeFailures')
  }

  get framesPerSecond(): number {
    return this.#rates.perSecond('frames')
  }

  get acceptedPerSecond(): number {
    return this.#rates.perSecond('accepted')
  }

  get perMinute(): PerMinute {
    return {
      errors: this.#rates.inMinute('errors'),
      resets: this.#rates.inMinute('resets'),
      undone: this.#rates.inMinute('undone'),
      slowCloses: this.#rates.inMinute('slowCloses'),
      arrivals: this.#rates.inMinute('arrivals'),
      mostActive: this.connections.peakOfMinute
    }
  }

  /** The last walk over the connections, at most a second or so old. */
  get summary(): ConnectionSummary {
    return this.#summary
  }

  #second(summary: ConnectionSummary): void {
    const now = performance.now()
    this.#summary = summary
    this.#rates.sample(now)
    this.connections.tick(now, summary.active)
    this.publishes.tick(now)
    this.load.tick(now)
    this.#ticks++
    if (this.#ticks % (HISTORY_STEP_MS / 1000) === 0) this.#step()
  }

  /** Every ten seconds. */
  #step(): void {
    this.history.add(
      this.#summary,
      {
        published: this.publishes.accepted.value,
        frames: this.frames.value,
        errors: this.errors.total
      },
      this.publishToWrite.latest()
    )
    for (const latency of [this.publishToWrite, this.publishAck, this.commit]) latency.rotate()
    this.load.restart()
  }
}
