/** Longest pause between two attempts. */
const MAX_MS = 30_000

/** Full jitter: anything up to a bound that doubles with each failure, so that those who fell together do not return together. */
export const backoffMs = (baseMs: number, failures: number): number =>
  Math.random() * Math.min(MAX_MS, baseMs * 2 ** Math.max(0, failures - 1))
