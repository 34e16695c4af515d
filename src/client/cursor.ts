/** A cursor is opaque to applications; the SDK belongs to the service and knows `<epoch>-<seq>`. */
const parts = (cursor: string): readonly [epoch: string, seq: number] => {
  const at = cursor.lastIndexOf('-')
  return [cursor.slice(0, at), Number(cursor.slice(at + 1))]
}

/** True if both cursors belong to the same log. */
export const sameLog = (a: string, b: string): boolean => parts(a)[0] === parts(b)[0]

/**
 * True if `a` is later than `b`. A cursor of another log has not been seen, so it counts as later.
 */
export const isAfter = (a: string, b: string): boolean =>
  !sameLog(a, b) || parts(a)[1] > parts(b)[1]
