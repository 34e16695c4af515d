import { hash, timingSafeEqual } from 'node:crypto'
import type { NamedKey } from '../config/values.ts'

/** The keys of producers or of operators. */
export interface Keyring {
  /**
   * Name of the key in an Authorization header: `Bearer <key>`, or Basic with the key as password
   * if the keyring accepts that. Undefined if the header holds no key of this keyring.
   */
  match(authorization: string | undefined): string | undefined
}

const sha256 = (text: string): Buffer => hash('sha256', text, 'buffer')

/**
 * The credentials after the scheme; undefined for other schemes. A regular expression that skips
 * spaces on both sides would take quadratic time.
 */
function afterScheme(authorization: string, scheme: string): string | undefined {
  const head = authorization.slice(0, scheme.length + 1).toLowerCase()
  return head === `${scheme} ` ? authorization.slice(head.length).trim() : undefined
}

/** The token of a `Bearer` Authorization header (RFC 6750, 2.1); undefined for other schemes. */
export const bearerOf = (authorization: string | undefined): string | undefined =>
  authorization === undefined ? undefined : afterScheme(authorization, 'bearer')

function basicPassword(authorization: string): string | undefined {
  const encoded = afterScheme(authorization, 'basic')
  if (encoded === undefined) return undefined
  const decoded = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = decoded.indexOf(':')
  return colon < 0 ? undefined : decoded.slice(colon + 1)
}

/**
 * Makes a keyring; with `basic` it also accepts the Basic scheme. It compares digests, because
 * `timingSafeEqual` throws for values of different lengths.
 */
export function createKeyring(
  keys: readonly NamedKey[],
  { basic = false }: { readonly basic?: boolean } = {}
): Keyring {
  const ring = keys.map(({ name, key }) => ({ name, digest: sha256(key) }))
  return {
    match(authorization) {
      if (authorization === undefined) return undefined
      const given = bearerOf(authorization) ?? (basic ? basicPassword(authorization) : undefined)
      if (given === undefined) return undefined
      const digest = sha256(given)
      let found: string | undefined
      // The loop never stops early, so that its duration reveals nothing about the keys.
      for (const one of ring) if (timingSafeEqual(one.digest, digest)) found = one.name
      return found
    }
  }
}
