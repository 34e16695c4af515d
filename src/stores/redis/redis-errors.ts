import { StoreError } from '../../log/store.ts'

/**
 * True if a script refused to touch the log because its epoch is not the one this process knows.
 */
export const isOtherEpoch = (error: unknown): boolean =>
  error instanceof Error && error.message.startsWith('EPOCH')

/** In our own words: those of ioredis mention its options. */
const NO_CONNECTION = 'there is no connection to Redis'
const MASTER_AWAY = 'the master of the log cannot be reached'

/** `REDIS_URL` names something else than it has to; an operator has to change it. */
export class RedisMisconfigured extends Error {}

/** Reported if `REDIS_URL` names one node of a Cluster. */
export const LONE_NODE =
  'this Redis is a node of a Cluster, and REDIS_URL names it as a server of its own: write redis://host:port,host:port (of one address only, write it twice)'
const leastOf = (prefix: string): string =>
  `The least it needs is ~${prefix}:* &${prefix}:* +@all -@admin -@dangerous +info`
const NOT_ALLOWED =
  'the Redis user may not use a command, a key or a channel that is needed: give it ~<REDIS_PREFIX>:* &<REDIS_PREFIX>:* +@all -@admin -@dangerous +info'

const ofLoneNodes = new WeakSet<Error>()

/** Notes that this error came over a connection to a single server, which cannot follow MOVED. */
export function noteLoneNode(error: Error): void {
  if (wasSentOn(error)) ofLoneNodes.add(error)
}

const sentOnReason = (error: Error): string => (ofLoneNodes.has(error) ? LONE_NODE : MASTER_AWAY)

/**
 * True if an ACL forbids it. Inside a script Redis uses other words than outside, and does not name
 * the command.
 */
const isNotAllowed = ({ message }: Error): boolean =>
  hasCode(message, 'NOPERM') || /can't run this command|ACL failure in script/.test(message)

/**
 * Why publishing or subscribing to a channel of Redis fails, for an operator. If the user lacks the
 * permission, the reason contains the ACL rule to add.
 */
export function channelRefusal(error: unknown, prefix: string): string {
  if (!(error instanceof Error) || !isNotAllowed(error) || !/channel/.test(error.message))
    return reasonOf(error)
  return `the Redis user lacks a channel permission: &${prefix}:* (without it notifications arrive late). ${leastOf(prefix)} (${messageOf(error)})`
}

/**
 * The message of a server, without the part of the command that it repeats, which contains what was
 * published.
 */
const messageOf = ({ message }: Error): string =>
  message.replace(/, with args beginning with[\s\S]*/, '')

/** True if a server of a Cluster names another for the key, and that one does not take it. */
const wasSentOn = ({ message }: Error): boolean => message.startsWith('MOVED ')

/** True if only an operator can correct it: a missing permission, or an address of another kind. */
export const isMisconfiguration = (error: unknown): boolean =>
  error instanceof Error &&
  (error instanceof RedisMisconfigured || isNotAllowed(error) || ofLoneNodes.has(error))

/** True if there was no connection to send the command over. */
export const wasNotSent = (error: unknown): boolean =>
  error instanceof Error && /^(?:Stream isn't writeable|Cluster isn't ready)/.test(error.message)

/**
 * True if the connection broke while the command was in flight: Redis may or may not have carried
 * it out.
 */
export const isBrokenConnection = (error: unknown): boolean =>
  error instanceof Error &&
  (error.name === 'MaxRetriesPerRequestError' ||
    /Connection is closed|ECONNRESET|EPIPE|Socket closed|Socket timeout/.test(error.message))

/**
 * Redis before 7 wraps an error inside a script: the code is then behind a dash somewhere in the
 * message.
 */
const hasCode = (message: string, codes: string): boolean =>
  new RegExp(`(?:^|[-\\s])(?:${codes}) `).test(message)

/** True if a server refuses writes because another is the master now. */
export const isReadOnly = (error: Error): boolean => hasCode(error.message, 'READONLY')

/** Codes of a server that can carry out no command now. */
const FOR_NOW =
  'READONLY|LOADING|MASTERDOWN|NOREPLICAS|MISCONF|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|BUSY|UNKILLABLE|NOAUTH|WRONGPASS|NOPERM|EPOCH'

/** Why the log cannot be followed, for an operator. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (wasNotSent(error)) return NO_CONNECTION
  if (wasSentOn(error)) return sentOnReason(error)
  return isNotAllowed(error) ? `${NOT_ALLOWED} (${messageOf(error)})` : messageOf(error)
}

/** An error of Redis as the port reports it; an error of this program stays as it is. */
export function storeErrorOf(error: unknown): unknown {
  if (error instanceof StoreError || !(error instanceof Error)) return error
  if (error instanceof RedisMisconfigured)
    return new StoreError('unavailable', error.message, { cause: error })
  if (hasCode(error.message, 'OOM'))
    return new StoreError('full', 'Redis has no room left (maxmemory)', { cause: error })
  if (isNotAllowed(error)) return new StoreError('unavailable', reasonOf(error), { cause: error })
  if (error.name === 'ReplyError' && !hasCode(error.message, FOR_NOW)) return error
  if (wasNotSent(error) || isBrokenConnection(error))
    return new StoreError('unavailable', NO_CONNECTION, { cause: error })
  if (wasSentOn(error)) return new StoreError('unavailable', sentOnReason(error), { cause: error })
  return new StoreError('unavailable', `Redis returned an error: ${messageOf(error)}`, {
    cause: error
  })
}
