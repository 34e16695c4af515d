/** Places between two that no event of this log has: above `tail`, below `top`. What undone lives gave lies in there. */
export interface Fence {
  readonly tail: number
  readonly top: number
}

/** True if the place lies within a fence. `fences` are in the order of the log; cursors are mostly of its end, so that is tried first. */
export function isFenced(seq: number, fences: readonly Fence[]): boolean {
  for (let i = fences.length - 1; i >= 0; i--) {
    const { tail, top } = fences[i]!
    if (seq >= top) return false
    if (seq > tail) return true
  }
  return false
}
