import { createSecretKey } from 'node:crypto'
import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyOptions, jwtVerify, type RemoteJWKSet, SignJWT } from 'jose'
import { LRUCache } from 'lru-cache'
import { z } from 'zod'
import { MAX_INSTANT } from '../core/limits.ts'
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
/** How long a verified token is not verified again, and how many are remembered. */
const CACHE_MS = 60_000
const CACHE_ENTRIES = 10_000
const JWKS_TIMEOUT_MS = 2_000
/** A key that we do not know is asked for at once after a rotation, and at most this often whoever makes up key ids. */
const JWKS_COOLDOWN_MS = 1_000

const Claims = z.object({ sub: Name, topics: z.array(TopicGrant).max(1000).nullish() })

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
  const checks: JWTVerifyOptions = {
    clockTolerance: NBF_TOLERANCE_SECONDS,
    ...(options.jwtIssuer === undefined ? {} : { issuer: options.jwtIssuer }),
    ...(options.jwtAudience === undefined ? {} : { audience: options.jwtAudience })
  }
  // A secret never meets an asymmetric algorithm, nor a public key HS256: that is what algorithm confusion lives on.
  const verify = jwksUrl === undefined ? withSecrets(jwtSecrets, checks) : withKeySet(new URL(jwksUrl), checks)
  const cache = new LRUCache<string, Verified>({ max: CACHE_ENTRIES })

  return async (token) => {
    const key = digest(token)
    let verified = cache.get(key)
    if (!verified) {
      verified = toVerified(await verify(token))
      const left = (verified.subscriber.expiresAt ?? Number.POSITIVE_INFINITY) - Date.now()
      if (left >= 1) cache.set(key, verified, { ttl: Math.ceil(Math.min(left, CACHE_MS)) })
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
    const claim = claims.error.issues[0]!.path[0] === 'topics' ? 'topics' : 'sub'
    throw unauthenticated(
      claim === 'sub'
        ? 'The token needs a claim sub that is a user name.'
        : 'The claim topics of the token must be an array of topic names.'
    )
  }
  const { sub: user, topics } = claims.data
  const subscriber: Subscriber = {
    user,
    topics: topics ?? [],
    ...(payload.exp === undefined ? {} : { expiresAt: Math.min(payload.exp * 1000, MAX_INSTANT) })
  }
  return { subscriber, issuedAt: typeof payload.iat === 'number' ? payload.iat : 0 }
}

function withSecrets(secrets: readonly string[], checks: JWTVerifyOptions): Verify {
  const keys = secrets.map((secret) => createSecretKey(secret, 'utf8'))
  return async (token) => {
    for (const key of keys) {
      try {
        return (await jwtVerify(token, key, { ...checks, algorithms: ['HS256'] })).payload
      } catch (error) {
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw refusal(error)
      }
    }
    throw refusal(undefined)
  }
}

/** The key set could not be had; says nothing about the token. */
class KeySetError extends Error {}

function withKeySet(url: URL, checks: JWTVerifyOptions): Verify {
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
  const options = { ...checks, algorithms: ASYMMETRIC }
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
  if (error instanceof errors.JWTClaimValidationFailed)
    return unauthenticated(`The claim ${error.claim} of the token is not as required.`)
  if (error instanceof errors.JOSEAlgNotAllowed) return unauthenticated('The algorithm of the token is not accepted here.')
  return unauthenticated('The token is not a valid one for this service.')
}

/** A subscriber JWT for trying out; `ttl` in seconds. */
export function signDevToken(
  user: string,
  topics: readonly string[],
  secret: string,
  ttl: number,
  claims: { readonly issuer?: string | undefined; readonly audience?: string | undefined } = {}
): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  const token = new SignJWT({ topics: [...topics] })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject(user)
    .setIssuedAt(now)
    .setExpirationTime(now + ttl)
  if (claims.issuer !== undefined) token.setIssuer(claims.issuer)
  if (claims.audience !== undefined) token.setAudience(claims.audience)
  return token.sign(createSecretKey(secret, 'utf8'))
}
