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
/** A connection that lasted this long was a good one. */
const STEADY_MS = 5_000
/** Failures on the top rung before the next one is tried: the transport may be at fault. */
const TRIES = 3
/** How long the first frame may take: a buffering proxy holds back even the response headers. */
const FIRST_MS = 5_000
/** A connection counts as dead after this many heartbeat intervals of silence. */
const MISSED_BEATS = 2.5
/** How long a poll may take; the service answers within 25 s. */
const POLL_MS = 40_000

/**
 * Why this side ended a step: `on`, to go on at once with the next; `silent`, because nothing
 * arrived.
 */
type Ended = 'on' | 'silent'

/** What the ladder needs from its user. */
export interface LadderHost {
  readonly api: Api
  /** How many items to request in a fresh page. */
  readonly items: number
  cursor(): string | undefined
  hear(frame: Frame): void
  status(status: Status, error: Error | null): void
}

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
 * AbortController, whose reason says why it was ended. One closure, because private fields would
 * make the script larger.
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
  /** Credentials rejected in a row; network failures do not count. */
  let denials = 0
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

  /** Decides what follows: the pause, and the rung of the next attempt. */
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
    // The credential expired or was rejected. Another may work, though after a revocation only one
    // issued in a later second. A cookie is tried again after a goodbye: it may have been renewed.
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
    // A good connection that ended for a reason of ours, not of the network, reconnects at once.
    if (steady && (ended || goodbye?.reason === 'expired')) return 0
    failures++
    tell(code === 'network' && !heard ? 'offline' : 'connecting', error)
    const pauseMs = backoffMs(failures, retryMs) + (denied ? 1_000 : 0)
    // Another rung helps if the network path is at fault; for silence one attempt proves that.
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
      // Only a change can help, so any sign of one starts a new attempt.
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
