import { StoreError } from '../../log/store.ts'
import { isReady, type RedisConnection } from './client.ts'

/**
 * Resolves when the connection takes commands; rejects with a StoreError at the monotonic
 * `deadline`.
 */
export async function connectionReady(
  connection: RedisConnection,
  deadline: number
): Promise<void> {
  if (isReady(connection)) return
  const error = new StoreError('unavailable', 'Redis cannot be reached')
  const left = deadline - performance.now()
  if (left <= 0) throw error
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(error), left)
    void nextReady(connection).then(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}

/** However many callers wait for a connection, it has one listener for them. */
const waiting = new WeakMap<RedisConnection, Promise<void>>()

function nextReady(connection: RedisConnection): Promise<void> {
  let next = waiting.get(connection)
  if (next === undefined) {
    next = new Promise((resolve) =>
      connection.once('ready', () => {
        waiting.delete(connection)
        resolve()
      })
    )
    waiting.set(connection, next)
  }
  return next
}
