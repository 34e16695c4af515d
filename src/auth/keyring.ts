import { hash, timingSafeEqual } from 'node:crypto'

interface NamedKey {
  readonly name: string
  readonly key: string
}

export interface Keyring {
  /** Name of the key that an Authorization header holds: `Bearer <key>`, or Basic with the key as password where that is taken. */
  match(authorization: string | undefined): string | undefined
}

const sha256 = (text: string): Buffer => hash('sha256', text, 'buffer')

/** What follows the scheme; undefined for other schemes. Without a pattern: those for spaces on both sides take quadratic time. */
function afterScheme(authorization: string, scheme: string): string | undefined {
  const head = authorization.slice(0, scheme.length + 1).toLowerCase()
  return head === `${scheme} ` ? authorization.slice(head.length).trim() : undefined
}

/** The token of an Authorization header of the scheme Bearer; undefined for other schemes. */
export const bearerOf = (authorization: string | undefined): string | undefined =>
  authorization === undefined ? undefined : afterScheme(authorization, 'bearer')

function basicPassword(authorization: string): string | undefined {
  const encoded = afterScheme(authorization, 'basic')
  if (encoded === undefined) return undefined
  const decoded = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = decoded.indexOf(':')
  return colon < 0 ? undefined : decoded.slice(colon + 1)
}

/** Keys of producers or operators. Digests are compared, so that keys of any length take the same time and none can throw. */
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
      // To the end, whichever fits: how long it takes tells nothing.
      for (const one of ring) if (timingSafeEqual(one.digest, digest)) found = one.name
      return found
    }
  }
}
