/** What the bound grows from, and up to: somebody may be looking at the page. */
const BASE_MS = 1_000
const MAX_MS = 15_000

/**
 * Full jitter: anything up to a bound that doubles with each failure, so that those who fell together do not return together.
 * `retryMs` is what the service has asked for: the bound of the first attempts.
 */
export const backoffMs = (failures: number, retryMs = BASE_MS): number =>
  Math.random() * Math.min(MAX_MS, Math.max(retryMs, BASE_MS * 2 ** (failures - 1)))
