import type { JWTPayload } from 'jose'
import { MAX_ENTRIES, MAX_INSTANT } from '../bounds/limits.ts'
import type { AuthConfig } from '../config/config.ts'
import { TOPIC_GRANT_PATTERN, USER_PATTERN, USER_RULE } from '../log/names.ts'
import type { Subscriber } from '../log/subscriber.ts'
import { denied } from './auth-error.ts'

/** What a JWT must contain, and the names of its claims. */
export type ClaimRules = Pick<
  AuthConfig,
  'jwtIssuer' | 'jwtAudience' | 'jwtUserClaim' | 'jwtTopicsClaim'
>

/** What Bellwire keeps of a token whose signature, times, issuer and audience `jwt.ts` has checked. */
export interface VerifiedToken {
  readonly subscriber: Subscriber
  /** The claim `iat`, seconds since 1970; 0 if the token has none. */
  readonly issuedAt: number
}

/**
 * How far an issuer's clock may be ahead of ours for `iat` and `nbf`, seconds. `exp` has no such
 * leeway.
 */
export const MAX_CLOCK_SKEW_S = 60

/** A name, or a whole number, because databases number their users; undefined for anything else. */
function userIn(claim: unknown): string | undefined {
  if (typeof claim === 'string' && USER_PATTERN.test(claim)) return claim
  return Number.isSafeInteger(claim) && Number(claim) >= 0 ? String(claim) : undefined
}

/** The topics of a claim that may be missing; undefined for anything but a list of topics. */
function topicsIn(claim: unknown): readonly string[] | undefined {
  const topics: unknown = claim ?? []
  return Array.isArray(topics) && topics.length <= MAX_ENTRIES.grants && topics.every(isGrant)
    ? topics
    : undefined
}

const isGrant = (topic: unknown): topic is string =>
  typeof topic === 'string' && TOPIC_GRANT_PATTERN.test(topic)

/** The path to a claim: its name, or the steps of a JSON pointer (RFC 6901, 4). */
export function claimPath(name: string): string[] {
  if (!name.startsWith('/')) return [name]
  return name
    .slice(1)
    .split('/')
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function claimAt(payload: object, name: string): unknown {
  let value: unknown = payload
  for (const step of claimPath(name)) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined
    value = (value as Record<string, unknown>)[step]
  }
  return value
}

/** The claims that hold a time (RFC 7519, 4.1.4 to 4.1.6). */
type Instant = 'iat' | 'nbf' | 'exp'

/**
 * The refusal of a time in milliseconds, as `Date.now()` returns it; undefined for any other value.
 * Read as milliseconds it lies between 1985 and 2128, read as seconds in the year 17,800 or later:
 * a token with such an `exp` would never expire.
 */
function inMilliseconds(claim: Instant, value: unknown): string | undefined {
  if (typeof value !== 'number' || value < 5e11 || value > 5e12) return undefined
  return `The claim ${claim} of the token is in milliseconds; JWTs count seconds: divide it by 1000.`
}

/**
 * Reads the subscriber from a payload whose signature, times, issuer and audience were checked.
 * Throws an `AuthError` `denied` if a claim is missing or malformed.
 */
export function readClaims(
  payload: JWTPayload,
  { jwtUserClaim, jwtTopicsClaim }: ClaimRules
): VerifiedToken {
  const { iat = 0, exp } = payload
  const wrongUnit = inMilliseconds('iat', iat) ?? inMilliseconds('exp', exp)
  if (wrongUnit !== undefined) throw denied(wrongUnit)
  const ahead = secondsFromNow(iat)
  if (!Number.isFinite(iat))
    throw denied('The claim iat of the token must be a number of seconds since 1970.')
  if (ahead > MAX_CLOCK_SKEW_S) {
    throw denied(
      `The token was issued ${ahead} s in the future (iat), but ${MAX_CLOCK_SKEW_S} s of clock skew are allowed: synchronize the clocks.`
    )
  }
  const user = userIn(claimAt(payload, jwtUserClaim))
  if (user === undefined) {
    throw denied(
      `The claim ${jwtUserClaim} of the token must name the user: it ${USER_RULE}, or a whole number. To use another claim, set AUTH_JWT_USER_CLAIM.`
    )
  }
  const topics = topicsIn(claimAt(payload, jwtTopicsClaim))
  if (topics === undefined) {
    throw denied(
      `The claim ${jwtTopicsClaim} of the token must be an array of at most ${MAX_ENTRIES.grants} topic names; a name may end in *.`
    )
  }
  return {
    subscriber: {
      user,
      topics,
      ...(exp === undefined ? {} : { expiresAt: Math.min(exp * 1000, MAX_INSTANT) })
    },
    issuedAt: iat
  }
}

const secondsFromNow = (instant: number): number => Math.ceil(instant - Date.now() / 1000)

/**
 * The refusal of a claim that a library rejected. It quotes our settings, but nothing of the token
 * except how far its clock is ahead.
 */
export function claimRefusal(
  claim: string,
  payload: JWTPayload,
  { jwtIssuer, jwtAudience }: ClaimRules
): string {
  switch (claim) {
    case 'nbf':
      if (typeof payload.nbf !== 'number')
        return 'The claim nbf of the token must be a number of seconds since 1970.'
      return (
        inMilliseconds('nbf', payload.nbf) ??
        `The token becomes valid in ${secondsFromNow(payload.nbf)} s (nbf), but ${MAX_CLOCK_SKEW_S} s of clock skew are allowed: synchronize the clocks.`
      )
    case 'exp':
      return 'The claim exp of the token must be a number of seconds since 1970.'
    case 'iss':
      return `The claim iss of the token must be ${JSON.stringify(jwtIssuer)} (AUTH_JWT_ISSUER).`
    case 'aud':
      return `The claim aud of the token must be or contain ${jwtAudience.map((one) => JSON.stringify(one)).join(' or ')} (AUTH_JWT_AUDIENCE).`
    default:
      return `The claim ${claim} of the token is not valid.`
  }
}

/** The refusal of an expired token: says how long ago it expired, if that was within a day. */
export function expiryRefusal(exp: unknown): string {
  const ago = typeof exp === 'number' ? Math.max(0, -secondsFromNow(exp)) : undefined
  return ago === undefined || ago > 86_400
    ? 'The token has expired: get a new one.'
    : `The token expired ${ago} s ago (exp), by the clock of Bellwire: get a new one.`
}
