import { timingSafeEqual } from 'node:crypto'
import type { NamedKey } from '../config/values.ts'

/** The keys of producers or of operators. */
export interface Keyring {
  /**
   * Name of the key in an Authorization header: `Bearer <key>`, or Basic with the key as password
   * if the keyring accepts that. Undefined if the header holds no key of this keyring.
   */
  match(authorization: string | undefined): string | undefined
}

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

/** Bytes before a padded key: its length. */
const LENGTH_BYTES = 4
/** No key has so many bytes as the length of a key that does not fit says. */
const PADDING = 0xff

/** Fills a buffer with the length of a key, the key, and padding; with padding if it is too long. */
function pad(key: string, into: Buffer): Buffer {
  const length = Buffer.byteLength(key)
  into.fill(PADDING)
  if (length > into.length - LENGTH_BYTES) return into
  into.writeUInt32LE(length)
  into.write(key, LENGTH_BYTES)
  return into
}

/**
 * Makes a keyring; with `basic` it also accepts the Basic scheme. It compares buffers of one size,
 * because `timingSafeEqual` throws for values of different lengths. Digests would have one size as
 * well, but take 2 µs of each publish.
 */
export function createKeyring(
  keys: readonly NamedKey[],
  { basic = false }: { readonly basic?: boolean } = {}
): Keyring {
  const size = LENGTH_BYTES + Math.max(0, ...keys.map(({ key }) => Buffer.byteLength(key)))
  const ring = keys.map(({ name, key }) => ({ name, padded: pad(key, Buffer.alloc(size)) }))
  const buffer = Buffer.alloc(size)
  return {
    match(authorization) {
      if (authorization === undefined) return undefined
      const given = bearerOf(authorization) ?? (basic ? basicPassword(authorization) : undefined)
      if (given === undefined) return undefined
      const padded = pad(given, buffer)
      let found: string | undefined
      // The loop never stops early, so that its duration reveals nothing about the keys.
      for (const one of ring) if (timingSafeEqual(one.padded, padded)) found = one.name
      return found
    }
  }
}
