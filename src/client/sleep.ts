/** Longest delay that a timer takes; a longer one fires at once. */
const MAX_DELAY_MS = 2_147_483_647

export type Timer = ReturnType<typeof setTimeout>

/** A timer for any delay: one that is too long for a timer fires early, so whoever sets it looks again. */
export const later = (fn: () => void, ms: number): Timer =>
  setTimeout(fn, Math.min(ms, MAX_DELAY_MS))

/** Resolves after so many milliseconds (by default not by itself), or when the signal aborts. */
export const sleep = (ms = Infinity, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = later(resolve, ms)
    signal?.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
