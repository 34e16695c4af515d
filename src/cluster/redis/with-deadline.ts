/** Resolves as the promise does; rejects if that takes longer than `ms` milliseconds. */
export async function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no reply within ${ms} ms`)), ms)
  })
  promise.catch(() => {}) // nobody waits for it once it is late
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
