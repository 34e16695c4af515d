import { StoreError } from '../../log/store.ts'

/** True where a script refused to touch the log because it is not the one this process knows. */
export const isOtherEpoch = (error: unknown): boolean =>
  error instanceof Error && error.message.startsWith('EPOCH')

/** Said where there is none. In our words: the library tells of its own options. */
const NO_CONNECTION = 'there is no connection to Redis'
const MASTER_AWAY = 'the master of the log cannot be reached'

/** What `REDIS_URL` names is not what it has to be; for an operator, who has to change it. */
export class RedisMisfit extends Error {}

/** Reported if `REDIS_URL` names one node of a Cluster. */
export const LONE_NODE =
  'this Redis is a node of a Cluster, and REDIS_URL names it as a server of its own: write redis://host:port,host:port (of one address only, write it twice)'
const leastOf = (prefix: string): string =>
  `The least it needs is ~${prefix}:* &${prefix}:* +@all -@admin -@dangerous +info`
const NOT_ALLOWED =
  'the Redis user may not use a command, a key or a channel that is needed: give it ~<REDIS_PREFIX>:* &<REDIS_PREFIX>:* +@all -@admin -@dangerous +info'

const ofLoneNodes = new WeakSet<Error>()

/** Notes that this answer came over a connection that knows of no Cluster: it can follow no MOVED. */
export function noteLoneNode(error: Error): void {
  if (wasSentOn(error)) ofLoneNodes.add(error)
}

const sentOnReason = (error: unknown): string =>
  ofLoneNodes.has(error as Error) ? LONE_NODE : MASTER_AWAY

/** True if an ACL forbids it. In a script, Redis says so in other words than outside of one, and does not name the command. */
const isNotAllowed = (error: unknown): boolean =>
  error instanceof Error &&
  (hasCode(error.message, 'NOPERM') ||
    /can't run this command|ACL failure in script/.test(error.message))

/**
 * Why wake-ups can be neither sent nor heard, for an operator. A channel that the user may not use is
 * named as the operator has to grant it.
 */
export function silenceOf(error: Error, prefix: string): string {
  if (!isNotAllowed(error) || !/channel/.test(error.message)) return reasonOf(error)
  return `the Redis user lacks a channel permission: &${prefix}:* (without it notifications arrive late). ${leastOf(prefix)} (${textOf(error)})`
}

/** What a server answered, without what it repeats of the command, which holds what was published. */
const textOf = ({ message }: Error): string =>
  message.replace(/, with args beginning with[\s\S]*/, '')

/** True where another server of a Cluster says whose it is, and that one does not take it. */
const wasSentOn = (error: unknown): boolean =>
  error instanceof Error && error.message.startsWith('MOVED ')

/** True if only an operator can mend it: a right that is missing, or an address of another kind. */
export const isMisfit = (error: unknown): boolean =>
  error instanceof RedisMisfit || isNotAllowed(error) || ofLoneNodes.has(error as Error)

/** True where there was no connection to send it over. */
export const wasNotSent = (error: unknown): boolean =>
  error instanceof Error && /^(?:Stream isn't writeable|Cluster isn't ready)/.test(error.message)

/** True where the connection broke with the command on its way: nobody knows whether it was carried out. */
export const isBrokenConnection = (error: unknown): boolean =>
  error instanceof Error &&
  (error.name === 'MaxRetriesPerRequestError' ||
    /Connection is closed|ECONNRESET|EPIPE|Socket closed|Socket timeout/.test(error.message))

/** Redis before 7 wraps what went wrong within a script: the code then stands behind a dash, somewhere in the message. */
const hasCode = (message: string, codes: string): boolean =>
  new RegExp(`(?:^|[-\\s])(?:${codes}) `).test(message)

/** True where a server refuses writes since another is the master now. */
export const isReadOnly = (error: Error): boolean => hasCode(error.message, 'READONLY')

/** Answers of a server that cannot do it now, whatever it is. */
const FOR_NOW =
  'READONLY|LOADING|MASTERDOWN|NOREPLICAS|MISCONF|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|BUSY|UNKILLABLE|NOAUTH|WRONGPASS|NOPERM|EPOCH'

/** Why the log cannot be followed, for an operator. */
export function reasonOf(error: unknown): string {
  if (wasNotSent(error)) return NO_CONNECTION
  if (wasSentOn(error)) return sentOnReason(error)
  if (isNotAllowed(error)) return `${NOT_ALLOWED} (${textOf(error as Error)})`
  return error instanceof Error ? textOf(error) : String(error)
}

/** Redis' trouble in the words of the port; a fault of our own stays what it is. */
export function storeErrorOf(error: unknown): unknown {
  if (error instanceof StoreError || !(error instanceof Error)) return error
  if (error instanceof RedisMisfit)
    return new StoreError('unavailable', error.message, { cause: error })
  if (hasCode(error.message, 'OOM'))
    return new StoreError('full', 'Redis has no room left (maxmemory)', { cause: error })
  if (isNotAllowed(error)) return new StoreError('unavailable', reasonOf(error), { cause: error })
  if (error.name === 'ReplyError' && !hasCode(error.message, FOR_NOW)) return error
  if (wasNotSent(error) || isBrokenConnection(error))
    return new StoreError('unavailable', NO_CONNECTION, { cause: error })
  if (wasSentOn(error)) return new StoreError('unavailable', sentOnReason(error), { cause: error })
  return new StoreError('unavailable', `Redis does not answer as it should: ${textOf(error)}`, {
    cause: error
  })
}
