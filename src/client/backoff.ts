/** What the bound grows from, and up to: somebody may be looking at the page. */
const BASE_MS = 1_000
const MAX_MS = 15_000

/**
 * When to ask again after so many failures in a row: full jitter, anything up to a bound that doubles with each, so that clients
 * that failed together do not return together. `retryMs` is the bound of the first attempts, as a stream names it.
 */
export const backoffMs = (failures: number, retryMs = BASE_MS): number =>
  Math.random() * Math.min(MAX_MS, Math.max(retryMs, BASE_MS * 2 ** (failures - 1)))
