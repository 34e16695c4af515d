import { fastifyCookie } from '@fastify/cookie'
import { NAME_PATTERN } from '../core/names.ts'
import type { Subscriber } from '../core/subscriber.ts'
import { unauthenticated } from './refusal.ts'

/** A value, a dot, and a SHA-256 in base64 without padding. */
const SIGNED = /\.[A-Za-z0-9+/]{43}$/

export const looksSigned = (value: string): boolean => SIGNED.test(value)

/** Reads cookies whose value is the user id, signed as @fastify/cookie signs; any of the secrets will do. */
export function createCookieVerifier(secrets: readonly string[]): (value: string) => Subscriber {
  const signer = fastifyCookie.signerFactory([...secrets])
  return (value) => {
    const { valid, value: user } = signer.unsign(value)
    if (!valid || !NAME_PATTERN.test(user))
      throw unauthenticated('The cookie is not one that was signed for a user: log in again.')
    return { user, topics: [] }
  }
}
