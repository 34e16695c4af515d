import type { Api } from './api.ts'
import { backoffMs } from './backoff.ts'
import { asError } from './error.ts'
import { type Frame, frameOf } from './frame.ts'
import type { Page } from './page.ts'
import { later, sleep, type Timer } from './sleep.ts'
import type { Counts } from './types.ts'

/** Removes items when they expire. */
export interface Expiry {
  /** Waits for the first expiry among the items of a page. */
  watch(page: Page): void
  stop(): void
}

/**
 * `page` is the present one. `leads`: this tab holds the connection and removes for all tabs,
 * because it knows the time. `take` applies a frame here and in the other tabs.
 */
export function createExpiry(
  api: Api,
  signal: AbortSignal,
  page: () => Page | null,
  leads: () => boolean,
  take: (frame: Frame) => void
): Expiry {
  let timer: Timer | undefined

  /**
   * Removes what has expired, then asks for the counts: only the service knows about items beyond
   * the page.
   */
  async function expire(): Promise<void> {
    const length = (): number => page()?.items.length ?? 0
    const before = length()
    const tell = (data: object): void => take(frameOf('heartbeat', page()?.cursor, data))
    if (leads()) tell({ now: api.now() })
    for (let failures = 0; leads() && before > length(); ) {
      try {
        return tell({ counts: await api.json<Counts>('inbox/counts', {}) })
      } catch (error) {
        await sleep(asError(error).retryAfterMs ?? backoffMs(++failures), signal)
      }
    }
  }

  return {
    watch({ items }) {
      clearTimeout(timer)
      const ends = items.flatMap(({ expiresAt }) => (expiresAt ? Date.parse(expiresAt) : []))
      const inMs = Math.min(...ends) - api.now()
      // Infinity: nothing expires. NaN: the time is not known yet.
      if (inMs < Infinity) timer = later(expire, inMs)
    },
    stop: () => clearTimeout(timer)
  }
}
