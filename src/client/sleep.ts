/** The longest delay of a timer; longer ones fire at once. */
const MAX_DELAY_MS = 2_147_483_647

/** What `setTimeout` returns. */
export type Timer = ReturnType<typeof setTimeout>

/**
 * A timer for any delay. A delay too long for a timer fires early, so the caller must check again.
 */
export const later = (fn: () => void, ms: number): Timer =>
  setTimeout(fn, Math.min(ms, MAX_DELAY_MS))

/** Resolves after `ms` milliseconds (by default never), or when the signal aborts. */
export const sleep = (ms = Infinity, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = later(resolve, ms)
    signal?.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
