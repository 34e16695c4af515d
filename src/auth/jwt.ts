import { createSigner, createVerifier, TOKEN_ERROR_CODES, TokenError } from 'fast-jwt'
import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyOptions, jwtVerify, type RemoteJWKSet } from 'jose'
import { z } from 'zod'
import { BoundedCache, textBytes, textsBytes } from '../core/bounded-cache.ts'
import { MAX_ENTRIES, MAX_INSTANT } from '../core/limits.ts'
import { Name, TopicGrant } from '../core/names.ts'
import type { Store } from '../core/store.ts'
import type { Subscriber } from '../core/subscriber.ts'
import { digest } from './digest.ts'
import { asking, unauthenticated, unavailable } from './refusal.ts'

export interface JwtOptions {
  /** HS256 secrets, any of which will do. */
  readonly jwtSecrets: readonly string[]
  /** Key set for asymmetric algorithms; taken instead of the secrets. */
  readonly jwksUrl?: string | undefined
  readonly jwtIssuer?: string | undefined
  readonly jwtAudience?: string | undefined
  readonly store: Pick<Store, 'revokedAt'>
}

const ASYMMETRIC = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
/** Clocks of issuers run ahead; for `exp` ours alone counts. */
const NBF_TOLERANCE_SECONDS = 5
/** How long a verified token is not verified again. */
const CACHE_MS = 60_000
const JWKS_TIMEOUT_MS = 2_000
/** A key that we do not know is asked for at once after a rotation, and at most this often whoever makes up key ids. */
const JWKS_COOLDOWN_MS = 1_000

const Claims = z.object({ sub: Name, iat: z.number().optional(), topics: z.array(TopicGrant).max(MAX_ENTRIES.grants).nullish() })

/** What remains of a token that was found genuine. */
interface Verified {
  readonly subscriber: Subscriber
  /** Seconds since 1970; 0 where the token does not tell. */
  readonly issuedAt: number
}

type Verify = (token: string) => Promise<JWTPayload>

/** Three parts of base64url, as a compact JWS has; says nothing about whether it is genuine. The last may be empty (`alg: none`). */
export const looksLikeJwt = (value: string): boolean => /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/.test(value)

/** Verifies subscriber JWTs; undefined where neither a secret nor a key set is configured. */
export function createJwtVerifier(options: JwtOptions): ((token: string) => Promise<Subscriber>) | undefined {
  const { jwtSecrets, jwksUrl, store } = options
  if (jwksUrl === undefined && jwtSecrets.length === 0) return undefined
  // A secret never meets an asymmetric algorithm, nor a public key HS256: that is what algorithm confusion lives on.
  const verify = jwksUrl === undefined ? withSecrets(jwtSecrets, options) : withKeySet(new URL(jwksUrl), options)
  const cache = new BoundedCache<Verified>('tokens', {
    sizeOf: ({ subscriber }) => 150 + textBytes(subscriber.user) + textsBytes(subscriber.topics)
  })

  return async (token) => {
    const key = digest(token)
    let verified = cache.get(key)
    if (!verified) {
      verified = toVerified(await verify(token))
      const left = (verified.subscriber.expiresAt ?? Number.POSITIVE_INFINITY) - Date.now()
      if (left >= 1) cache.set(key, verified, Math.ceil(Math.min(left, CACHE_MS)))
    }
    const { subscriber, issuedAt } = verified
    if (subscriber.expiresAt !== undefined && subscriber.expiresAt <= Date.now()) throw expired()
    // Tokens tell seconds: one issued within the second of the revocation may be older than it.
    const revokedAt = await asking(store.revokedAt(subscriber.user))
    if (revokedAt > 0 && Math.floor(issuedAt) <= Math.floor(revokedAt / 1000))
      throw unauthenticated('The token was revoked: log in again.')
    return subscriber
  }
}

const expired = () => unauthenticated('The token has expired: get a new one.')

function toVerified(payload: JWTPayload): Verified {
  const claims = Claims.safeParse(payload)
  if (!claims.success) {
    const claim = claims.error.issues[0]!.path[0]
    if (claim === 'sub') throw unauthenticated('The token needs a claim sub that is a user name.')
    if (claim === 'topics') throw unauthenticated('The claim topics of the token must be an array of topic names.')
    throw wrongClaim('iat')
  }
  const { sub: user, topics, iat } = claims.data
  const subscriber: Subscriber = {
    user,
    topics: topics ?? [],
    ...(payload.exp === undefined ? {} : { expiresAt: Math.min(payload.exp * 1000, MAX_INSTANT) })
  }
  return { subscriber, issuedAt: iat ?? 0 }
}

type Claimed = Pick<JwtOptions, 'jwtIssuer' | 'jwtAudience'>

/**
 * By a library of its own: the one for key sets hands each HMAC to a pool of threads, which costs thirty times what it computes, and
 * after a restart everybody comes at once.
 */
function withSecrets(secrets: readonly string[], { jwtIssuer, jwtAudience }: Claimed): Verify {
  const checks = {
    algorithms: ['HS256' as const],
    clockTolerance: NBF_TOLERANCE_SECONDS * 1000,
    requiredClaims: [...(jwtIssuer === undefined ? [] : ['iss']), ...(jwtAudience === undefined ? [] : ['aud'])],
    ...(jwtIssuer === undefined ? {} : { allowedIss: jwtIssuer }),
    ...(jwtAudience === undefined ? {} : { allowedAud: jwtAudience })
  }
  const verifiers = secrets.map((key) => createVerifier({ ...checks, key }))
  return async (token) => {
    let reason: unknown
    for (const verify of verifiers) {
      try {
        return verify(token) as JWTPayload
      } catch (error) {
        reason = error
        if (!(error instanceof TokenError) || error.code !== TOKEN_ERROR_CODES.invalidSignature) break
      }
    }
    throw refusal(reason)
  }
}

/** The key set could not be had; says nothing about the token. */
class KeySetError extends Error {}

function withKeySet(url: URL, { jwtIssuer, jwtAudience }: Claimed): Verify {
  const keySet: RemoteJWKSet = createRemoteJWKSet(url, { timeoutDuration: JWKS_TIMEOUT_MS, cooldownDuration: JWKS_COOLDOWN_MS })
  const resolve: RemoteJWKSet = Object.assign(async (...args: Parameters<RemoteJWKSet>) => {
    try {
      return await keySet(...args)
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) throw error
      if (error instanceof errors.JOSENotSupported) throw error
      throw new KeySetError('the key set cannot be had', { cause: error })
    }
  }, keySet)
  const options: JWTVerifyOptions = {
    algorithms: ASYMMETRIC,
    clockTolerance: NBF_TOLERANCE_SECONDS,
    ...(jwtIssuer === undefined ? {} : { issuer: jwtIssuer }),
    ...(jwtAudience === undefined ? {} : { audience: jwtAudience })
  }
  return async (token) => {
    try {
      return (await jwtVerify(token, resolve, options)).payload
    } catch (error) {
      if (error instanceof KeySetError)
        throw unavailable('The key set of the issuer cannot be had at the moment: try again.', error.cause)
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw refusal(error)
      // A token without a key id, and several keys of its kind: one of them may fit.
      for await (const key of error) {
        try {
          return (await jwtVerify(token, key, options)).payload
        } catch (inner) {
          if (!(inner instanceof errors.JWSSignatureVerificationFailed)) throw refusal(inner)
        }
      }
      throw refusal(undefined)
    }
  }
}

/** What the caller is told. Names of claims, never their values. */
function refusal(error: unknown): Error {
  if (error instanceof errors.JWTExpired) return expired()
  if (error instanceof errors.JWTClaimValidationFailed) return wrongClaim(error.claim)
  if (error instanceof errors.JOSEAlgNotAllowed) return wrongAlgorithm()
  if (error instanceof TokenError) {
    switch (error.code) {
      case TOKEN_ERROR_CODES.expired:
        return expired()
      case TOKEN_ERROR_CODES.inactive:
        return wrongClaim('nbf')
      case TOKEN_ERROR_CODES.invalidAlgorithm:
      case TOKEN_ERROR_CODES.missingSignature:
        return wrongAlgorithm()
      case TOKEN_ERROR_CODES.invalidClaimType:
      case TOKEN_ERROR_CODES.invalidClaimValue:
      case TOKEN_ERROR_CODES.missingRequiredClaim:
        return wrongClaim(/(\w+) claim/.exec(error.message)?.[1] ?? '')
    }
  }
  return unauthenticated('The token is not a valid one for this service.')
}

const wrongClaim = (claim: string) => unauthenticated(`The claim ${claim} of the token is not as required.`)
const wrongAlgorithm = () => unauthenticated('The algorithm of the token is not accepted here.')

/** A subscriber JWT for trying out; `ttl` in seconds. */
export function signDevToken(
  user: string,
  topics: readonly string[],
  secret: string,
  ttl: number,
  { issuer, audience }: { readonly issuer?: string | undefined; readonly audience?: string | undefined } = {}
): string {
  const sign = createSigner({ key: secret, algorithm: 'HS256' })
  const now = Math.floor(Date.now() / 1000)
  return sign({
    sub: user,
    topics: [...topics],
    iat: now,
    exp: now + ttl,
    ...(issuer === undefined ? {} : { iss: issuer }),
    ...(audience === undefined ? {} : { aud: audience })
  })
}
