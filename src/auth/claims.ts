import type { JWTPayload } from 'jose'
import { z } from 'zod'
import { MAX_ENTRIES, MAX_INSTANT } from '../bounds/limits.ts'
import { CredentialUser, TopicGrant, USER_RULE } from '../log/names.ts'
import type { Subscriber } from '../log/subscriber.ts'
import { denied } from './auth-error.ts'

/** What a token must say, and by which names. */
export interface ClaimRules {
  /** Required `iss`. */
  readonly jwtIssuer?: string | undefined
  /** Accepted values of `aud`, any of which will do; empty if none is required. */
  readonly jwtAudience: readonly string[]
  /** Name of the claim that holds the user, or a JSON pointer to it. */
  readonly jwtUserClaim: string
  /** Name of the claim that holds the topics, or a JSON pointer to it. */
  readonly jwtTopicsClaim: string
}

/** What remains of a token that was found genuine. */
export interface VerifiedToken {
  readonly subscriber: Subscriber
  /** Seconds since 1970; 0 if the token does not say. */
  readonly issuedAt: number
}

/** Seconds that the clock of an issuer may be ahead of ours. For `exp` ours alone counts. */
export const MAX_CLOCK_SKEW_S = 60

const Topics = z.array(TopicGrant).max(MAX_ENTRIES.grants).nullish()

/** The steps of a claim's name: itself, or those of a JSON pointer (RFC 6901, 4). */
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

/** The claims that are instants (RFC 7519, 4.1.4 to 4.1.6). */
type Instant = 'iat' | 'nbf' | 'exp'

/**
 * Why an instant is refused that counts milliseconds, as `Date.now()` gives them; undefined for any other. As milliseconds it lies
 * between 1985 and 2128; as seconds it would be the year 17,800 or later. An `exp` of that kind is a token that never expires.
 */
function inMilliseconds(claim: Instant, value: unknown): string | undefined {
  if (typeof value !== 'number' || value < 5e11 || value > 5e12) return undefined
  return `The claim ${claim} of the token is in milliseconds; JWTs count seconds: divide by 1000.`
}

/** Reads a payload whose signature, times, issuer and audience were checked. Throws if it names no subscriber. */
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
      `The token was issued ${ahead} s in the future (iat), more than the ${MAX_CLOCK_SKEW_S} s that clocks may differ: set the clocks right.`
    )
  }
  const user = CredentialUser.safeParse(claimAt(payload, jwtUserClaim))
  if (!user.success) {
    throw denied(
      `The claim ${jwtUserClaim} of the token must name the user: it ${USER_RULE}, or a whole number. AUTH_JWT_USER_CLAIM names another claim.`
    )
  }
  const topics = Topics.safeParse(claimAt(payload, jwtTopicsClaim))
  if (!topics.success) {
    throw denied(
      `The claim ${jwtTopicsClaim} of the token must be an array of at most ${MAX_ENTRIES.grants} topic names; the last character of a name may be *.`
    )
  }
  return {
    subscriber: {
      user: user.data,
      topics: topics.data ?? [],
      ...(exp === undefined ? {} : { expiresAt: Math.min(exp * 1000, MAX_INSTANT) })
    },
    issuedAt: iat
  }
}

const secondsFromNow = (instant: number): number => Math.ceil(instant - Date.now() / 1000)

/** Why a claim that a library refused is not as required. It holds what is set here, and of the token only how far clocks differ. */
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
        `The token is valid only ${secondsFromNow(payload.nbf)} s from now (nbf), more than the ${MAX_CLOCK_SKEW_S} s that clocks may differ: set the clocks right.`
      )
    case 'exp':
      return 'The claim exp of the token must be a number of seconds since 1970.'
    case 'iss':
      return `The claim iss of the token must be ${JSON.stringify(jwtIssuer)} (AUTH_JWT_ISSUER).`
    case 'aud':
      return `The claim aud of the token must be or hold ${jwtAudience.map((one) => JSON.stringify(one)).join(' or ')} (AUTH_JWT_AUDIENCE).`
    default:
      return `The claim ${claim} of the token is not as required.`
  }
}

/** How long ago a token expired. */
export function expiryRefusal(exp: unknown): string {
  const ago = typeof exp === 'number' ? Math.max(0, -secondsFromNow(exp)) : undefined
  return ago === undefined || ago > 86_400
    ? 'The token has expired: get a new one.'
    : `The token expired ${ago} s ago (exp), by the clock of this service: get a new one.`
}
