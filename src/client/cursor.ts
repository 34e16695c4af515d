/** Opaque to applications. The SDK belongs to the service, so it may know that one log numbers its places: `<epoch>-<seq>`. */
const parts = (cursor: string): readonly [epoch: string, seq: number] => {
  const at = cursor.lastIndexOf('-')
  return [cursor.slice(0, at), Number(cursor.slice(at + 1))]
}

/** Whether both are places of one log. */
export const sameLog = (a: string, b: string): boolean => parts(a)[0] === parts(b)[0]

/** Whether `a` is a later place than `b`. What is of another log has not been seen, so it counts as later. */
export const isAfter = (a: string, b: string): boolean =>
  !sameLog(a, b) || parts(a)[1] > parts(b)[1]
