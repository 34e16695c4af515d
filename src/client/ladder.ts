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
/** How long the first frame may take: a proxy that buffers holds back even the head of the answer. */
const FIRST_MS = 5_000
/** So many heartbeats missed are a sign of death. */
const MISSED_BEATS = 2.5
/** How long a poll may take, which waits for 25 s at most. */
const POLL_MS = 40_000

/** Why a step was ended from this side: `on`, to go on at once with the next; `silent` is a fault. */
type Ended = 'on' | 'silent'

/** What uses the ladder. */
export interface LadderHost {
  readonly api: Api
  readonly pageSize: number
  cursor(): string | undefined
  hear(frame: Frame): void
  status(status: Status, error: Error | null): void
}

/** A connection that is kept up. */
export interface Ladder {
  close(): void
  /** Something has changed: a new attempt, now and from the top, whatever the present one believes. */
  kick(): void
  /** The page was out of sight: the same, where nothing has been heard for longer than it should. */
  nudge(): void
}

/**
 * Keeps one connection up, over the best transport that works: attempt, pause, attempt, … until it is closed. One at a time, so
 * one cursor. Each step, attempt or pause, has an AbortController whose reason says why it was ended.
 */
export function startLadder({ api, pageSize, cursor, hear, status: tell }: LadderHost, rungs: readonly Transport[]): Ladder {
  let closed = false
  let step = new AbortController()
  let rung = 0
  let climbMs = CLIMB_MS
  let climbAt = 0
  let failures = 0
  let retryMs = 1_000
  let heartbeatMs = 15_000
  let heardAt = 0

  /** One connection to its end; then the pause before the next, undefined where only a change can help. */
  async function attempt({ status, open }: Transport): Promise<number | undefined> {
    const { signal } = step
    const startedAt = Date.now()
    const polls = status === 'polling'
    const timers: Timer[] = []
    let heard = false
    let goodbye: Goodbye | undefined
    let failure: BellwireError | undefined
    const own = step
    const endIn = (ms: number, why: Ended): Timer => later(() => own.abort(why), ms)
    let watchdog = endIn(polls ? POLL_MS : FIRST_MS, 'silent')
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
        clearTimeout(watchdog)
        watchdog = endIn(polls ? POLL_MS : MISSED_BEATS * heartbeatMs, 'silent')
        if (!heard) {
          heard = true
          tell(status, null)
          if (rung) timers.push(later(kick, climbAt - Date.now()))
          // Before the token ends, another one is asked for and the connection goes on with it.
          timers.push(endIn(api.token.renewInMs, 'on'))
        }
        hear(frame)
      }
    }
    try {
      // Whatever hangs (a callback of the application, too) does not hang us.
      await Promise.race([open(api, pageSize, listener, signal), sleep(undefined, signal)])
    } catch (error) {
      failure = asError(error)
    }
    for (const timer of [watchdog, ...timers]) clearTimeout(timer)
    const ended: Ended | undefined = signal.aborted ? signal.reason : undefined
    own.abort()
    return judge(heard, heard && Date.now() - startedAt >= STEADY_MS, ended, goodbye, failure)
  }

  /** What follows from how it went: the pause, and the rung of the next attempt. */
  function judge(heard: boolean, steady: boolean, ended?: Ended, goodbye?: Goodbye, failure?: BellwireError): number | undefined {
    if (closed) return 0
    if (steady) {
      failures = 0
      if (!rung) climbMs = CLIMB_MS
    }
    if (ended === 'on') return 0
    const error = failure ?? (ended ? new BellwireError('silent', 'nothing arrives') : null)
    const status = failure?.status
    // The credential has ended or was refused. Another may do, though not always at once: what was revoked takes one of a later
    // second. With a cookie, too, a try is worth it after a goodbye: the application may have renewed it.
    const denied = status === 401 || goodbye?.retryMs === null
    const another = denied && failures < TRIES && api.token.refused()
    if (status === 403 || (status === 401 && !another)) {
      tell('unauthorized', error)
      return undefined
    }
    const toldMs = goodbye ? goodbye.retryMs : failure?.retryAfterMs
    if (toldMs != null) {
      tell('connecting', error)
      return toldMs
    }
    // A connection that was good may come back at once where it has ended for our reasons, not for the network's.
    if (steady && (ended || goodbye?.reason === 'expired')) return 0
    failures++
    const unreachable = error?.code === 'network'
    tell(unreachable && !heard ? 'offline' : 'connecting', error)
    const pauseMs = backoffMs(failures, retryMs) + (denied ? 1_000 : 0)
    const mayPass = !error || unreachable || another || status! >= 500
    if (heard || (!rung && mayPass && failures % TRIES)) return pauseMs
    if (!rungs[rung + 1]) {
      rung = 0
      return pauseMs
    }
    if (!rung++) {
      climbAt = Date.now() + climbMs
      climbMs = Math.min(MAX_CLIMB_MS, climbMs * 2)
    }
    return 0
  }

  async function run(): Promise<void> {
    tell('connecting', null)
    while (!closed) {
      const pauseMs = await attempt(rungs[rung]!)
      step = new AbortController()
      if (!closed && pauseMs !== 0) await sleep(pauseMs, step.signal)
      step = new AbortController()
    }
  }

  const kick = (): void => {
    rung = 0
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
