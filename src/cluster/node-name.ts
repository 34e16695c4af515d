import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'

/** A name for this process among its nodes: from the host's name, and new at each start. */
export function createNodeName(): string {
  const host = hostname()
    .replace(/[^A-Za-z0-9]/g, '')
    .slice(0, 12)
  return `${host || 'node'}${randomBytes(3).toString('hex')}`
}
