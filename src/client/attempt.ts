/**
 * The result of using a feature of the browser; undefined if it is missing or throws. Blocked
 * storage, sandboxed frames and old browsers have features that throw: the page works without them.
 */
export function attempt<T>(use: () => T): T | undefined {
  try {
    return use()
  } catch {
    return undefined
  }
}
