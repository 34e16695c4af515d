import { StoreError } from '../../core/store.ts'

/** True where a script refused to touch the log because it is not the one this process knows. */
export const isOtherEpoch = (error: unknown): boolean => error instanceof Error && error.message.startsWith('EPOCH')

/** True where the connection broke with the command on its way: nobody knows whether it was carried out. */
export const isBrokenConnection = (error: unknown): boolean =>
  error instanceof Error &&
  (error.name === 'MaxRetriesPerRequestError' ||
    /Connection is closed|ECONNRESET|EPIPE|Socket closed|Socket timeout/.test(error.message))

/** Answers of a server that cannot do it now, whatever it is. */
const FOR_NOW =
  /^(?:READONLY|LOADING|MASTERDOWN|NOREPLICAS|MISCONF|CLUSTERDOWN|TRYAGAIN|BUSY|UNKILLABLE|NOAUTH|WRONGPASS|NOPERM|EPOCH)/

/** Redis' trouble in the words of the port; a fault of our own stays what it is. */
export function storeErrorOf(error: unknown): unknown {
  if (error instanceof StoreError || !(error instanceof Error)) return error
  if (error.message.startsWith('OOM')) return new StoreError('full', 'Redis has no room left (maxmemory)', { cause: error })
  if (error.name === 'ReplyError' && !FOR_NOW.test(error.message)) return error
  return new StoreError('unavailable', `Redis does not answer as it should: ${error.message}`, { cause: error })
}
