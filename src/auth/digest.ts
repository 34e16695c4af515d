import { createHash } from 'node:crypto'

/** SHA-256 in base64url: names a credential in a cache or a store without being one. */
export const digest = (...parts: readonly string[]): string => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(`${part.length}:`).update(part)
  return hash.digest('base64url')
}
