import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { MAX_ENTRIES } from '../../bounds/limits.ts'

/** Characters of the hash in a tag: 162 bits rule out that two contents share a tag. */
const TAG_LENGTH = 27

/**
 * A strong entity tag of the content (RFC 9110, 8.8.3), the same on every node. `suffix`
 * distinguishes the encodings of one content.
 */
export const entityTag = (content: string | Buffer, suffix = ''): string =>
  `"${createHash('sha256').update(content).digest('base64url').slice(0, TAG_LENGTH)}${suffix}"`

const opaque = (tag: string): string => tag.trim().replace(/^W\//, '')

/**
 * Whether the client has the content with this tag: `If-None-Match`, compared weakly (RFC 9110,
 * 13.1.2).
 */
export function isCurrent({ headers }: FastifyRequest, tag: string): boolean {
  const known = headers['if-none-match']
  if (known === undefined) return false
  return known
    .split(',', MAX_ENTRIES.validators)
    .some((one) => opaque(one) === opaque(tag) || one.trim() === '*')
}
