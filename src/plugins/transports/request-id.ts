import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** A request id that callers may choose. Any other `X-Request-Id` is replaced by one of ours. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/

const prefix = randomBytes(4).toString('hex')
let count = 0

/**
 * Server option `genReqId`: the id that the caller chose, or one that is unique among all nodes.
 */
export function requestIdOf({ headers }: Pick<IncomingMessage, 'headers'>): string {
  const given = headers['x-request-id']
  return typeof given === 'string' && REQUEST_ID.test(given)
    ? given
    : `${prefix}-${(++count).toString(36)}`
}
