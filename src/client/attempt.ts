/**
 * What a part of the browser gives; undefined where it is missing or refuses. Blocked storage, a sandboxed frame or an old
 * browser has features that are there and throw: the page goes on without them.
 */
export function attempt<T>(use: () => T): T | undefined {
  try {
    return use()
  } catch {
    return undefined
  }
}
