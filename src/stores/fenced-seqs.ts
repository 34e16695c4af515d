/**
 * A range of seqs, above `tail` and below `top`, that this log never uses. An undone process may
 * have used them.
 */
export interface Fence {
  readonly tail: number
  readonly top: number
}

/**
 * Whether a seq is within a fence. `fences` are in the order of the log. Most cursors are near its
 * end, so the search starts there.
 */
export function isFenced(seq: number, fences: readonly Fence[]): boolean {
  for (let i = fences.length - 1; i >= 0; i--) {
    const { tail, top } = fences[i]!
    if (seq >= top) return false
    if (seq > tail) return true
  }
  return false
}
