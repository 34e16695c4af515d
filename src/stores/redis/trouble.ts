import { StoreError } from '../../core/store.ts'

/** True where a script refused to touch the log because it is not the one this process knows. */
export const isOtherEpoch = (error: unknown): boolean => error instanceof Error && error.message.startsWith('EPOCH')

/** Said where there is none. In our words: the library tells of its own options. */
const NO_CONNECTION = 'there is no connection to Redis'
const MASTER_AWAY = 'the master of the log cannot be reached'

/** True where another server of a Cluster says whose it is, and that one does not take it. */
const wasSentOn = (error: unknown): boolean => error instanceof Error && error.message.startsWith('MOVED ')

/** True where there was no connection to send it over. */
export const wasNotSent = (error: unknown): boolean =>
  error instanceof Error && /^(?:Stream isn't writeable|Cluster isn't ready)/.test(error.message)

/** True where the connection broke with the command on its way: nobody knows whether it was carried out. */
export const isBrokenConnection = (error: unknown): boolean =>
  error instanceof Error &&
  (error.name === 'MaxRetriesPerRequestError' ||
    /Connection is closed|ECONNRESET|EPIPE|Socket closed|Socket timeout/.test(error.message))

/** Redis before 7 wraps what went wrong within a script: the code then stands behind a dash, somewhere in the message. */
const hasCode = (message: string, codes: string): boolean => new RegExp(`(?:^|[-\\s])(?:${codes}) `).test(message)

/** True where a server refuses writes since another is the master now. */
export const isReadOnly = (error: Error): boolean => hasCode(error.message, 'READONLY')

/** Answers of a server that cannot do it now, whatever it is. */
const FOR_NOW =
  'READONLY|LOADING|MASTERDOWN|NOREPLICAS|MISCONF|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|BUSY|UNKILLABLE|NOAUTH|WRONGPASS|NOPERM|EPOCH'

/** Why the log cannot be followed, for an operator. */
export function reasonOf(error: unknown): string {
  if (wasNotSent(error)) return NO_CONNECTION
  if (wasSentOn(error)) return MASTER_AWAY
  return error instanceof Error ? error.message : String(error)
}

/** Redis' trouble in the words of the port; a fault of our own stays what it is. */
export function storeErrorOf(error: unknown): unknown {
  if (error instanceof StoreError || !(error instanceof Error)) return error
  if (hasCode(error.message, 'OOM')) return new StoreError('full', 'Redis has no room left (maxmemory)', { cause: error })
  if (error.name === 'ReplyError' && !hasCode(error.message, FOR_NOW)) return error
  if (wasNotSent(error) || isBrokenConnection(error)) return new StoreError('unavailable', NO_CONNECTION, { cause: error })
  if (wasSentOn(error)) return new StoreError('unavailable', MASTER_AWAY, { cause: error })
  return new StoreError('unavailable', `Redis does not answer as it should: ${error.message}`, { cause: error })
}
