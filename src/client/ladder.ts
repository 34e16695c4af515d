import type { Api } from './api.ts'
import { backoffMs } from './backoff.ts'
import { asError, BellwireError } from './error.ts'
import type { Frame, Goodbye } from './frame.ts'
import { later, sleep, type Timer } from './sleep.ts'
import type { Transport } from './transport.ts'
import type { Status } from './types.ts'

/** First and longest time on a lower rung before the top one is tried again. */
const CLIMB_MS = 20_000
const MAX_CLIMB_MS = 600_000
/** An attempt that has lived so long was a good one. */
const STEADY_MS = 5_000
/** Failures on the top rung before the next is tried: the fault may be the transport's. */
const TRIES = 3
/**
 * How long the first frame may take: a proxy that buffers holds back even the head of the answer.
 */
const FIRST_MS = 5_000
/** So many heartbeats missed are a sign of death. */
const MISSED_BEATS = 2.5
/** How long a poll may take, which waits for 25 s at most. */
const POLL_MS = 40_000

/**
 * Why a step was ended from this side: `on`, to go on at once with the next; `silent` is a fault.
 */
type Ended = 'on' | 'silent'

/** What uses the ladder. */
export interface LadderHost {
  readonly api: Api
  /** How many items a fresh page is asked for with. */
  readonly items: number
  cursor(): string | undefined
  hear(frame: Frame): void
  status(status: Status, error: Error | null): void
}

/** A connection that is kept up. */
export interface Ladder {
  close(): void
  /**
   * Something has changed: a new attempt, now and (by default) from the top, whatever the present
   * one believes.
   */
  kick(fromTop?: boolean): void
  /**
   * The page was out of sight: the same, where nothing has been heard for longer than it should.
   */
  nudge(): void
}

/**
 * Keeps one connection up, over the best transport that works: attempt, pause, attempt, … until it
 * is closed. One at a time, so one cursor. Each step, attempt or pause, has an AbortController
 * whose reason says why it was ended.
 */
export function startLadder(
  { api, items, cursor, hear, status: tell }: LadderHost,
  rungs: readonly Transport[]
): Ladder {
  let closed = false
  let step: AbortController
  let rung = 0
  let climbMs = CLIMB_MS
  let climbAt = 0
  let failures = 0
  /** Credentials refused in a row; a way that fails is no fault of theirs. */
  let denials = 0
  let retryMs = 1_000
  let heartbeatMs = 15_000
  // What has only begun is not late.
  let heardAt = Date.now()

  /**
   * One connection to its end; then the pause before the next, undefined where only a change can
   * help.
   */
  async function attempt({ status, open }: Transport): Promise<number | undefined> {
    const own = new AbortController()
    step = own
    const { signal } = own
    const startedAt = performance.now()
    const polls = status !== 'live'
    let timers: Timer[] = []
    let watchdog: Timer | undefined
    let heard = false
    let goodbye: Goodbye | undefined
    let failure: BellwireError | undefined
    const endIn = (ms: number, why: Ended): Timer => later(() => own.abort(why), ms)
    const watch = (ms: number): void => {
      clearTimeout(watchdog)
      watchdog = endIn(polls ? POLL_MS : ms, 'silent')
    }
    const listener = {
      cursor,
      retry: (ms: number) => {
        retryMs = ms
      },
      hear: (frame: Frame) => {
        if (signal.aborted) return
        heardAt = Date.now()
        if (frame.event === 'goodbye') {
          goodbye = frame.data
          return
        }
        if ('heartbeatMs' in frame.data) heartbeatMs = frame.data.heartbeatMs
        watch(MISSED_BEATS * heartbeatMs)
        if (!heard) tell(status, null)
        heard = true
        hear(frame)
      }
    }
    try {
      // Whatever hangs does not hang us; only a token may take longer than an answer of the
      // service.
      await Promise.race([api.token.get(), sleep(Infinity, signal)])
      watch(FIRST_MS)
      timers = [
        // Before the token expires, another one is asked for and the connection goes on with it.
        endIn(api.token.renewInMs(), 'on'),
        later(kick, rung ? climbAt - performance.now() : Infinity)
      ]
      await Promise.race([open(api, items, listener, signal), sleep(Infinity, signal)])
    } catch (error) {
      failure = asError(error)
    }
    for (const timer of [watchdog, ...timers]) clearTimeout(timer)
    const ended: Ended | undefined = signal.aborted ? signal.reason : undefined
    own.abort()
    return judge(
      heard,
      heard && performance.now() - startedAt >= STEADY_MS,
      ended,
      goodbye,
      failure
    )
  }

  /** What follows from how it went: the pause, and the rung of the next attempt. */
  function judge(
    heard: boolean,
    steady: boolean,
    ended?: Ended,
    goodbye?: Goodbye,
    failure?: BellwireError
  ): number | undefined {
    if (closed) return 0
    if (steady) {
      failures = 0
      if (!rung) climbMs = CLIMB_MS
    }
    if (ended === 'on') return 0
    const error = failure ?? (ended ? new BellwireError('silent', 'nothing arrives') : null)
    const code = error?.code
    // The credential has ended or was refused. Another may do, though not always at once: what was
    // revoked takes one of a later second. With a cookie, too, a try is worth it after a goodbye:
    // the application may have renewed it.
    const denied = code === 'unauthenticated' || goodbye?.retryMs === null
    if (heard) denials = 0
    const another = denied && denials++ < TRIES && api.token.refused()
    if (code === 'forbidden' || (code === 'unauthenticated' && !another)) {
      tell('unauthorized', error)
      return undefined
    }
    const toldMs = goodbye ? goodbye.retryMs : failure?.retryAfterMs
    if (toldMs != null) {
      tell('connecting', error)
      return toldMs
    }
    // A connection that was good may come back at once where it has ended for our reasons, not for
    // the network's.
    if (steady && (ended || goodbye?.reason === 'expired')) return 0
    failures++
    tell(code === 'network' && !heard ? 'offline' : 'connecting', error)
    const pauseMs = backoffMs(failures, retryMs) + (denied ? 1_000 : 0)
    // Another rung helps where the way is the trouble: of silence one try tells that.
    if (heard || code === 'token' || (!rung && code !== 'silent' && failures % TRIES))
      return pauseMs
    if (!rungs[rung + 1]) {
      rung = 0
      return pauseMs
    }
    if (!rung++) {
      climbAt = performance.now() + climbMs
      climbMs = Math.min(MAX_CLIMB_MS, climbMs * 2)
    }
    return 0
  }

  async function run(): Promise<void> {
    tell('connecting', null)
    while (!closed) {
      const pauseMs = await attempt(rungs[rung]!)
      // Where only a change can help, any sign of one will do.
      if (pauseMs === undefined) heardAt = 0
      if (pauseMs === 0 || closed) continue
      step = new AbortController()
      await sleep(pauseMs, step.signal)
    }
  }

  const kick = (fromTop = true): void => {
    if (fromTop) rung = 0
    step.abort('on' satisfies Ended)
  }
  void run()
  return {
    close: () => {
      closed = true
      step.abort()
    },
    kick,
    nudge: () => {
      if (Date.now() - heardAt > 1.5 * heartbeatMs) kick()
    }
  }
}
