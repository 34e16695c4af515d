import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import type { JWTPayload } from 'jose'
import { type ClaimRules, MAX_CLOCK_SKEW_S } from './claims.ts'

const PARTS = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})$/
/** The headers that common libraries write. */
const HEADERS: ReadonlySet<string> = new Set(
  [{ alg: 'HS256', typ: 'JWT' }, { typ: 'JWT', alg: 'HS256' }, { alg: 'HS256' }].map((header) =>
    Buffer.from(JSON.stringify(header)).toString('base64url')
  )
)
/** A later time is in milliseconds by mistake, and refused. */
const MAX_SECONDS = 5e11

/**
 * Creates a reader of HS256 tokens that look as nearly all do: a usual header, a valid signature,
 * issuer and audience as `rules` say, and numbers for the times, all valid now. It returns their
 * payload, and undefined for every other token: then a library has to decide, and to say what is
 * wrong. After a restart everybody connects at once, and the library costs five times as much.
 */
export function createPlainTokenReader(
  secrets: readonly string[],
  rules: Pick<ClaimRules, 'jwtIssuer' | 'jwtAudience'>
): (token: string) => JWTPayload | undefined {
  const keys = secrets.map((secret) => createSecretKey(secret, 'utf8'))
  return (token) => {
    const [, header = '', payload = '', signature = ''] = PARTS.exec(token) ?? []
    if (!HEADERS.has(header)) return undefined
    const signed = token.slice(0, -signature.length - 1)
    if (!keys.some((key) => isSignature(key, signed, signature))) return undefined
    const claims = parse(payload)
    return claims && isTimely(claims, Date.now() / 1000) && isForUs(claims, rules)
      ? claims
      : undefined
  }
}

/** Whether this is the signature in its canonical form (RFC 7518, 3.2). */
function isSignature(key: KeyObject, signed: string, signature: string): boolean {
  const expected = createHmac('sha256', key).update(signed).digest('base64url')
  return timingSafeEqual(Buffer.from(expected), Buffer.from(signature))
}

function parse(payload: string): JWTPayload | undefined {
  try {
    const claims: JWTPayload | null = JSON.parse(Buffer.from(payload, 'base64url').toString())
    return typeof claims === 'object' && claims !== null && !Array.isArray(claims)
      ? claims
      : undefined
  } catch {
    return undefined
  }
}

const isTimely = ({ iat = 0, nbf = 0, exp = MAX_SECONDS }: JWTPayload, now: number): boolean =>
  isSeconds(iat) &&
  isSeconds(nbf) &&
  isSeconds(exp) &&
  Math.max(iat, nbf) <= now + MAX_CLOCK_SKEW_S &&
  exp > now

const isSeconds = (time: unknown): boolean => typeof time === 'number' && time <= MAX_SECONDS

function isForUs(
  { iss, aud }: JWTPayload,
  { jwtIssuer, jwtAudience }: Pick<ClaimRules, 'jwtIssuer' | 'jwtAudience'>
): boolean {
  if (jwtIssuer !== undefined && iss !== jwtIssuer) return false
  return jwtAudience.length === 0 || (typeof aud === 'string' && jwtAudience.includes(aud))
}
