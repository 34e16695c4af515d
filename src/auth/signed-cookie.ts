import { fastifyCookie } from '@fastify/cookie'
import { USER_PATTERN, USER_RULE } from '../log/names.ts'
import type { Subscriber } from '../log/subscriber.ts'
import { denied } from './auth-error.ts'

/** The signature at the end of a signed cookie: a dot and a SHA-256 in base64 without padding. */
const SIGNED = /\.[A-Za-z0-9+/]{43}$/

/** Whether a cookie's value has the form of a signed one; does not check the signature. */
export const looksSigned = (value: string): boolean => SIGNED.test(value)

/**
 * Returns a verifier for cookies whose value is the user name, signed as `@fastify/cookie` does
 * with any of `secrets`. The verifier throws an `AuthError` `denied`.
 */
export function createCookieVerifier(secrets: readonly string[]): (value: string) => Subscriber {
  const signer = fastifyCookie.signerFactory([...secrets])
  return (value) => {
    const { valid, value: user } = signer.unsign(value)
    if (!valid) {
      throw denied(
        value.startsWith('s:')
          ? 'The cookie is signed in the form s:<value>.<signature> of Express: sign it as @fastify/cookie does, <value>.<signature>.'
          : 'The signature of the cookie does not match COOKIE_SECRET.'
      )
    }
    if (!USER_PATTERN.test(user))
      throw denied(`The value of the signed cookie must be a user name: it ${USER_RULE}.`)
    return { user, topics: [] }
  }
}
