import type { Api } from './api.ts'
import { backoffMs } from './backoff.ts'
import { BellwireError } from './error.ts'
import type { Frame } from './frame.ts'
import type { Listener, Transport } from './transport.ts'
import type { Status } from './types.ts'

/** First and longest time on a lower rung before the top one is tried again. */
const CLIMB_MS = [15_000, 600_000] as const
/** An attempt that has lived so long was a good one. */
const STEADY_MS = 5_000
/** Failures on one rung before the next is tried: the fault may be the transport's. */
const TRIES = 3

/** Why we ended an attempt ourselves: `kick` goes on at once, `renew` with a new token, `climb` on the top rung; `silent` is a fault. */
type Ended = 'kick' | 'renew' | 'climb' | 'silent'

/** When to try again: null: not before something has changed. `told`: the service has named the time, so nothing shortens it. */
interface Pause {
  readonly ms: number | null
  readonly told: boolean
}

/** Go on at once. */
const NOW: Pause = { ms: 0, told: false }

/** What uses the ladder. */
export interface LadderHost {
  readonly api: Api
  readonly pageSize: number
  cursor(): string | null
  hear(frame: Frame): void
  status(status: Status, error: Error | null): void
}

/** Keeps one connection up, over the best transport that works, until it is closed. One attempt at a time, so one cursor. */
export class Ladder {
  readonly #host: LadderHost
  readonly #rungs: readonly Transport[]
  readonly #closed = new AbortController()
  #rung = 0
  #failures = 0
  #retryMs = 1_000
  #heartbeatMs = 15_000
  #climbMs: number = CLIMB_MS[0]
  #climbAt = 0
  /** The rung that worked before a climb. */
  #foothold = 0
  #end: (why: Ended) => void = () => {}
  #wake: (() => void) | undefined
  #heardAt = 0

  constructor(host: LadderHost, rungs: readonly Transport[]) {
    this.#host = host
    this.#rungs = rungs
    void this.#run()
  }

  close(): void {
    this.#closed.abort()
    this.#end('kick')
    this.#wake?.()
  }

  /** The network may have changed: a new attempt, now and from the top, whatever the present one believes. */
  kick(): void {
    this.#rung = 0
    this.#wake?.()
    this.#end('kick')
  }

  /** The page was asleep, or out of sight: a new attempt where this one waits, or has been silent for longer than it should. */
  nudge(): void {
    this.#wake?.()
    if (Date.now() - this.#heardAt > 1.5 * this.#heartbeatMs) this.#end('kick')
  }

  async #run(): Promise<void> {
    this.#host.status('connecting', null)
    while (!this.#closed.signal.aborted) {
      const next = await this.#attempt(this.#rungs[this.#rung]!)
      if (this.#closed.signal.aborted) return
      if (next.ms !== 0) await this.#pause(next)
    }
  }

  #pause({ ms, told }: Pause): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#wake = undefined
        resolve()
      }
      const timer = ms === null ? undefined : setTimeout(done, ms)
      // What the service asks for is kept, by the thousands who were sent away together.
      this.#wake = () => (told && !this.#closed.signal.aborted ? undefined : done())
    })
  }

  async #attempt(transport: Transport): Promise<Pause> {
    const { api, pageSize } = this.#host
    const attempt = new AbortController()
    const startedAt = Date.now()
    let heard = false
    let ended: Ended | undefined
    let goodbye: { readonly reason: string; readonly retryMs: number | null } | undefined
    let watchdog: ReturnType<typeof setTimeout>
    const end = (why: Ended): void => {
      ended ??= why
      attempt.abort()
    }
    const watch = (ms: number): void => {
      clearTimeout(watchdog)
      watchdog = setTimeout(end, ms, 'silent')
    }
    const timers: ReturnType<typeof setTimeout>[] = []
    const opened = (): void => {
      heard = true
      this.#host.status(transport.status, null)
      if (this.#rung > 0) timers.push(setTimeout(end, Math.max(0, this.#climbAt - Date.now()), 'climb'))
      if (this.#rung === 0 && this.#rungs.length > 1) this.#climbMs = CLIMB_MS[0]
      this.#foothold = this.#rung
      const renewInMs = api.token.renewInMs
      if (renewInMs < Number.POSITIVE_INFINITY) timers.push(setTimeout(end, renewInMs, 'renew'))
    }
    const listener: Listener = {
      cursor: () => this.#host.cursor(),
      retry: (ms) => {
        this.#retryMs = Math.max(100, ms)
      },
      hear: (frame) => {
        if (attempt.signal.aborted) return
        this.#heardAt = Date.now()
        if (frame.event === 'goodbye') {
          goodbye = frame.data
          return
        }
        if (frame.event === 'ready' || frame.event === 'reset') this.#heartbeatMs = frame.data.heartbeatMs
        if (!heard) opened()
        watch(transport.silentMs(this.#heartbeatMs))
        this.#host.hear(frame)
      }
    }
    let failure: BellwireError | undefined
    this.#end = end
    watch(transport.firstMs)
    try {
      await Promise.race([
        transport.open(api, pageSize, listener, attempt.signal),
        // Whatever hangs (a callback of the application, too) does not hang us.
        new Promise<void>((resolve) => attempt.signal.addEventListener('abort', () => resolve()))
      ])
    } catch (error) {
      failure = error instanceof BellwireError ? error : new BellwireError('network', `the connection broke: ${error}`)
    } finally {
      attempt.abort()
      clearTimeout(watchdog!)
      for (const timer of timers) clearTimeout(timer)
      this.#end = () => {}
    }
    const livedMs = Date.now() - startedAt
    if (livedMs >= STEADY_MS && heard) this.#failures = 0
    return this.#next(ended, goodbye, failure, heard, livedMs)
  }

  #next(
    ended: Ended | undefined,
    goodbye: { readonly reason: string; readonly retryMs: number | null } | undefined,
    failure: BellwireError | undefined,
    heard: boolean,
    livedMs: number
  ): Pause {
    const { api } = this.#host
    if (ended === 'climb') {
      this.#rung = 0
      this.#climbMs = Math.min(CLIMB_MS[1], this.#climbMs * 2)
    }
    if (ended && ended !== 'silent') return NOW
    if (goodbye && goodbye.retryMs !== null) return this.#again(goodbye.retryMs, true, null)
    if (goodbye) {
      api.token.refused(undefined)
      // With a cookie, too: the application may have renewed it.
      return livedMs >= STEADY_MS ? NOW : this.#again(this.#backoff(), false, null)
    }
    if (failure?.status === 401 || failure?.status === 403) {
      this.#host.status('unauthorized', failure)
      return { ms: null, told: false }
    }
    if (failure?.retryAfterMs !== undefined) return this.#again(failure.retryAfterMs * (1 + Math.random() / 4), true, failure)
    const silence = ended ? new BellwireError('silent', 'nothing arrives; something in between may hold streams back') : undefined
    const error = failure ?? silence ?? null
    if (heard) return silence ? this.#again(0, false, silence) : this.#again(this.#backoff(), false, error)
    return this.#fall(error)
  }

  /** An attempt that brought nothing: the same rung again, or the next one below. */
  #fall(error: BellwireError | null): Pause {
    const backoff = this.#backoff()
    const network = error?.code === 'network' || error?.code === 'token' || (error?.passing && error.status > 0)
    const stay = this.#rung === 0 && network && this.#failures % TRIES !== 0
    if (stay) return this.#again(backoff, false, error)
    const last = this.#rungs.length - 1
    if (this.#rung === last) {
      this.#rung = 0
      return this.#again(backoff, false, error)
    }
    // Back to what worked before the climb, without asking those in between again.
    this.#rung = this.#rung === 0 && this.#foothold > 0 ? this.#foothold : this.#rung + 1
    this.#climbAt = Date.now() + this.#climbMs
    return this.#again(0, false, error)
  }

  #backoff(): number {
    this.#failures++
    return backoffMs(this.#retryMs, this.#failures)
  }

  #again(ms: number, told: boolean, error: BellwireError | null): Pause {
    const offline = error?.code === 'network' && (this.#failures > 1 || globalThis.navigator?.onLine === false)
    this.#host.status(offline ? 'offline' : 'connecting', error)
    return { ms, told }
  }
}
