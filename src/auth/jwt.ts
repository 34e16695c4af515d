import { createSigner, createVerifier, TOKEN_ERROR_CODES, TokenError } from 'fast-jwt'
import { decodeJwt, errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose'
import { BoundedCache, textBytes, textsBytes } from '../bounds/bounded-cache.ts'
import type { AuthConfig } from '../config/config.ts'
import type { Credentials } from '../log/store.ts'
import type { Subscriber } from '../log/subscriber.ts'
import { asking, denied, unavailable } from './auth-error.ts'
import {
  type ClaimRules,
  claimPath,
  claimRefusal,
  expiryRefusal,
  MAX_CLOCK_SKEW_S,
  readClaims,
  type VerifiedToken
} from './claims.ts'
import { digest } from './digest.ts'
import { type KeySet, KeySetError } from './key-set.ts'
import type { SignInObserver } from './sign-in-observer.ts'

/** How JWTs are verified. */
export interface JwtOptions extends ClaimRules, Pick<AuthConfig, 'jwtSecrets'> {
  /** Key set for asymmetric algorithms; if there is one, the secrets are not used. */
  readonly keySet?: KeySet | undefined
  readonly store: Pick<Credentials, 'revokedAt'>
  readonly observer: Pick<SignInObserver, 'failed'>
}

const ASYMMETRIC = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519'
]
/** How long a verified token is cached. */
const CACHE_MS = 60_000

type Verify = (token: string) => Promise<JWTPayload>
type Read = (token: string) => Promise<VerifiedToken>

/**
 * Whether a value has the three base64url parts of a compact JWS (RFC 7515, 7.1); does not check
 * the signature, which is empty for `alg: none`.
 */
export const looksLikeJwt = (value: string): boolean =>
  /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/.test(value)

/** Verifies a token. Rejects with an `AuthError` `denied` or `unavailable`. */
export type VerifyJwt = (token: string) => Promise<Subscriber>

/**
 * Creates the verifier of subscriber JWTs; undefined if neither secrets nor a key set is
 * configured.
 */
export function createJwtVerifier(options: JwtOptions): VerifyJwt | undefined {
  const { jwtSecrets, keySet, store, observer } = options
  if (keySet === undefined && jwtSecrets.length === 0) return undefined
  // Secrets verify HS256 only, key sets asymmetric algorithms only: mixing them allows algorithm
  // confusion (RFC 8725, 2.1).
  const verify =
    keySet === undefined ? withSecrets(jwtSecrets, options) : withKeySet(keySet, options, observer)
  const readVerified: Read = async (token) => readClaims(await verify(token), options)
  const read = keySet === undefined ? readVerified : cached(readVerified)

  return async (token) => {
    const { subscriber, issuedAt } = await read(token)
    if (subscriber.expiresAt !== undefined && subscriber.expiresAt <= Date.now())
      throw denied(expiryRefusal(subscriber.expiresAt / 1000))
    // `iat` counts whole seconds: a token from the second of the revocation may be older than it.
    const revokedAt = await asking(store.revokedAt(subscriber.user))
    if (revokedAt > 0 && Math.floor(issuedAt) <= Math.floor(revokedAt / 1000))
      throw denied('The token was revoked: log in again.')
    return subscriber
  }
}

/**
 * Caches valid tokens of key sets. Those of secrets are quick to verify, and most are used once, by
 * a stream that opens: storing them costs time and memory for each connection.
 */
function cached(read: Read): Read {
  const cache = new BoundedCache<VerifiedToken>('tokens', {
    sizeOf: ({ subscriber }) => 150 + textBytes(subscriber.user) + textsBytes(subscriber.topics)
  })
  return async (token) => {
    const key = digest(token)
    const known = cache.get(key)
    if (known) return known
    const verified = await read(token)
    const left = (verified.subscriber.expiresAt ?? Number.POSITIVE_INFINITY) - Date.now()
    if (left >= 1) cache.set(key, verified, Math.ceil(Math.min(left, CACHE_MS)))
    return verified
  }
}

/**
 * HS256 is verified by fast-jwt, which takes about 10 µs of CPU a token; jose takes about 50 µs, and
 * after a restart everybody connects at once.
 */
function withSecrets(secrets: readonly string[], rules: ClaimRules): Verify {
  const { jwtIssuer, jwtAudience } = rules
  const checks = {
    algorithms: ['HS256' as const],
    clockTolerance: MAX_CLOCK_SKEW_S * 1000,
    requiredClaims: [
      ...(jwtIssuer === undefined ? [] : ['iss']),
      ...(jwtAudience.length === 0 ? [] : ['aud'])
    ],
    ...(jwtIssuer === undefined ? {} : { allowedIss: jwtIssuer }),
    ...(jwtAudience.length === 0 ? {} : { allowedAud: [...jwtAudience] })
  }
  const verifiers = secrets.map((key) => createVerifier({ ...checks, key }))
  return async (token) => {
    let reason: unknown
    for (const verify of verifiers) {
      try {
        return verify(token) as JWTPayload
      } catch (error) {
        reason = error
        if (!(error instanceof TokenError) || error.code !== TOKEN_ERROR_CODES.invalidSignature)
          break
      }
    }
    throw refusal(reason, token, rules, 'AUTH_JWT_SECRET')
  }
}

function withKeySet(
  keySet: KeySet,
  rules: ClaimRules,
  observer: Pick<SignInObserver, 'failed'>
): Verify {
  const { jwtIssuer, jwtAudience } = rules
  const refuse = (error: unknown, token: string) => refusal(error, token, rules, 'AUTH_JWKS_URL')
  const options: JWTVerifyOptions = {
    algorithms: ASYMMETRIC,
    clockTolerance: MAX_CLOCK_SKEW_S,
    ...(jwtIssuer === undefined ? {} : { issuer: jwtIssuer }),
    ...(jwtAudience.length === 0 ? {} : { audience: [...jwtAudience] })
  }
  return async (token) => {
    try {
      return (await jwtVerify(token, keySet.key, options)).payload
    } catch (error) {
      if (error instanceof KeySetError) {
        observer.failed(error.cause)
        throw unavailable('The key set of the issuer is not available: try again.', error.cause)
      }
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw refuse(error, token)
      // The token has no key id, and several keys have its algorithm: try each.
      for await (const key of error) {
        try {
          return (await jwtVerify(token, key, options)).payload
        } catch (inner) {
          if (!(inner instanceof errors.JWSSignatureVerificationFailed)) throw refuse(inner, token)
        }
      }
      throw refuse(new errors.JWSSignatureVerificationFailed(), token)
    }
  }
}

type KeySetting = 'AUTH_JWT_SECRET' | 'AUTH_JWKS_URL'

/**
 * The refusal sent to the caller: which rule the token breaks and what would satisfy it, but never
 * the token's content.
 */
function refusal(error: unknown, token: string, rules: ClaimRules, setting: KeySetting): Error {
  const claim = refusedClaim(error)
  if (claim !== undefined) {
    const payload = decodeJwt(token)
    return denied(
      claim === 'expired' ? expiryRefusal(payload.exp) : claimRefusal(claim, payload, rules)
    )
  }
  const code =
    error instanceof TokenError || error instanceof errors.JOSEError ? error.code : undefined
  switch (code) {
    case TOKEN_ERROR_CODES.invalidAlgorithm:
    case TOKEN_ERROR_CODES.missingSignature:
    case errors.JOSEAlgNotAllowed.code: {
      const accepted = setting === 'AUTH_JWT_SECRET' ? 'HS256' : ASYMMETRIC.join(', ')
      return denied(
        `The algorithm of the token is not accepted: with ${setting} it must be ${accepted}.`
      )
    }
    case TOKEN_ERROR_CODES.invalidSignature:
    case errors.JWSSignatureVerificationFailed.code:
    case errors.JWKSNoMatchingKey.code:
      return denied(
        setting === 'AUTH_JWT_SECRET'
          ? 'The token is signed with a secret other than AUTH_JWT_SECRET.'
          : 'The token is signed with a key that is not in the key set of AUTH_JWKS_URL.'
      )
    default:
      return denied(
        'The token is not a readable JWT: send one in compact form, header.payload.signature.'
      )
  }
}

/** The claim that a library rejected, or `expired`; undefined if the error is not about a claim. */
function refusedClaim(error: unknown): string | undefined {
  if (error instanceof errors.JWTExpired) return 'expired'
  if (error instanceof errors.JWTClaimValidationFailed) return error.claim
  if (!(error instanceof TokenError)) return undefined
  switch (error.code) {
    case TOKEN_ERROR_CODES.expired:
      return 'expired'
    case TOKEN_ERROR_CODES.inactive:
      return 'nbf'
    case TOKEN_ERROR_CODES.invalidClaimType:
    case TOKEN_ERROR_CODES.invalidClaimValue:
    case TOKEN_ERROR_CODES.missingRequiredClaim:
      return /(\w+) claim/.exec(error.message)?.[1] ?? ''
    default:
      return undefined
  }
}

/** Signs a subscriber JWT for development that satisfies `rules`; it is valid for `ttl` seconds. */
export function signDevToken(
  user: string,
  topics: readonly string[],
  secret: string,
  ttl: number,
  rules: ClaimRules
): string {
  const sign = createSigner({ key: secret, algorithm: 'HS256' })
  const now = Math.floor(Date.now() / 1000)
  const payload: Record<string, unknown> = {
    sub: user,
    iat: now,
    exp: now + ttl,
    ...(rules.jwtIssuer === undefined ? {} : { iss: rules.jwtIssuer }),
    ...(rules.jwtAudience.length === 0 ? {} : { aud: rules.jwtAudience[0] })
  }
  setClaim(payload, rules.jwtUserClaim, user)
  setClaim(payload, rules.jwtTopicsClaim, [...topics])
  return sign(payload)
}

function setClaim(payload: Record<string, unknown>, name: string, value: unknown): void {
  const steps = claimPath(name)
  const last = steps.pop() ?? name
  let at = payload
  for (const step of steps) {
    const inner = (at[step] ?? {}) as Record<string, unknown>
    at[step] = inner
    at = inner
  }
  at[last] = value
}
