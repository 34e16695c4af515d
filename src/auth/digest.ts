import { createHash } from 'node:crypto'

/**
 * SHA-256 of the parts, in base64url: identifies a credential in a cache or a store without
 * revealing it. Each part is hashed with its length, so that parts cannot run together.
 */
export const digest = (...parts: readonly string[]): string => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(`${part.length}:`).update(part)
  return hash.digest('base64url')
}
