import type { Api } from './api.ts'
import { asError, type BellwireError } from './error.ts'
import type { Frame, Goodbye } from './frame.ts'
import { createPlan, type Ended, type TellStatus } from './reconnect-plan.ts'
import { later, sleep, type Timer } from './sleep.ts'
import type { Transport } from './transport.ts'

/** A connection that lasted this long was a good one. */
const STEADY_MS = 5_000
/** How long the first frame may take: a buffering proxy holds back even the response headers. */
const FIRST_MS = 5_000
/** A connection counts as dead after this many heartbeat intervals of silence. */
const MISSED_BEATS = 2.5
/** How long a poll may take; the service answers within 25 s. */
const POLL_MS = 40_000

/** A connection that is kept up. */
export interface Ladder {
  close(): void
  /** Starts a new attempt now, by default from the top rung, because something has changed. */
  kick(fromTop?: boolean): void
  /** The page is visible again: starts a new attempt if nothing has arrived for too long. */
  nudge(): void
}

/**
 * Keeps one connection up over the best transport that works: attempt, pause, attempt, … until it
 * is closed. One at a time, so there is one cursor. Each attempt and each pause has an
 * AbortController, whose reason says why it was ended. `items` is how many to request in a fresh
 * page. Positional, because a minifier keeps names of properties.
 */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: an attempt shares five variables with what surrounds it
export function startLadder(
  api: Api,
  items: number,
  rungs: readonly Transport[],
  cursor: () => string | undefined,
  hear: (frame: Frame) => void,
  tell: TellStatus
): Ladder {
  const plan = createPlan(api, rungs, tell)
  let closed = false
  let step: AbortController
  let retryMs = 1_000
  let heartbeatMs = 15_000
  // A connection that has just begun is not late.
  let heardAt = Date.now()

  /**
   * Runs one connection to its end. Resolves to the pause before the next one; undefined if only a
   * change can help.
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
      // Nothing here waits for ever. Only a token may take longer than an answer of the service.
      await Promise.race([api.token.get(), sleep(Infinity, signal)])
      watch(FIRST_MS)
      timers = [
        // Before the token expires, the connection goes on with another one.
        endIn(api.token.renewInMs(), 'on'),
        later(kick, plan.climbInMs())
      ]
      await Promise.race([open(api, items, listener, signal), sleep(Infinity, signal)])
    } catch (error) {
      failure = asError(error)
    }
    for (const timer of [watchdog, ...timers]) clearTimeout(timer)
    const ended: Ended | undefined = signal.aborted ? signal.reason : undefined
    own.abort()
    if (closed) return 0
    return plan.next(
      retryMs,
      heard,
      heard && performance.now() - startedAt >= STEADY_MS,
      ended,
      goodbye,
      failure
    )
  }

  async function run(): Promise<void> {
    tell('connecting', null)
    while (!closed) {
      const pauseMs = await attempt(plan.current())
      // Only a change can help, so any sign of one starts a new attempt.
      if (pauseMs === undefined) heardAt = 0
      if (pauseMs === 0 || closed) continue
      step = new AbortController()
      await sleep(pauseMs, step.signal)
    }
  }

  const kick = (fromTop = true): void => {
    if (fromTop) plan.top()
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
