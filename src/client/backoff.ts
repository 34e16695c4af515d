/** The bound starts here and stays below the maximum: a user may be looking at the page. */
const BASE_MS = 1_000
const MAX_MS = 15_000

/**
 * How long to wait after this many failures in a row: full jitter, any time up to a bound that
 * doubles with each failure, so that clients that failed together do not retry together. `retryMs`,
 * from the stream's `retry:`, is the bound of the first attempts.
 */
export const backoffMs = (failures: number, retryMs = BASE_MS): number =>
  Math.random() * Math.min(MAX_MS, Math.max(retryMs, BASE_MS * 2 ** (failures - 1)))
