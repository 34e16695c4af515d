import { DEVELOPMENT_NAME, hasAuthMethod } from './keys-in-use.ts'
import type { Reading } from './read-settings.ts'
import type { SettingName } from './settings.ts'

/** Settings that mean nothing without another one, and what to do about it. */
const NEEDS: readonly (readonly [SettingName, SettingName, string])[] = [
  ['AUTH_JWT_SECRET_PREVIOUS', 'AUTH_JWT_SECRET', 'set the current secret too'],
  ['COOKIE_SECRET_PREVIOUS', 'COOKIE_SECRET', 'set the current secret too'],
  ['ALERT_WEBHOOK_SECRET', 'ALERT_WEBHOOK_URL', 'set the URL too, or remove it']
]

/** Settings that only a verifier of JWTs reads. */
const JWT_ONLY: readonly SettingName[] = [
  'AUTH_JWT_ISSUER',
  'AUTH_JWT_AUDIENCE',
  'AUTH_JWT_USER_CLAIM',
  'AUTH_JWT_TOPICS_CLAIM'
]

/** One line for each pair of settings that cannot be meant together. */
export function contradictions({ values, given }: Reading): string[] {
  const faults = [...storeFaults({ values, given }), ...scopeFaults({ values, given })]
  if (given.has('AUTH_JWT_SECRET') && given.has('AUTH_JWKS_URL'))
    faults.push(
      'AUTH_JWT_SECRET and AUTH_JWKS_URL are both set: keep the one that your tokens are signed with'
    )
  for (const [name, needed, action] of NEEDS)
    if (given.has(name) && !given.has(needed))
      faults.push(`${name} is set without ${needed}: ${action}`)
  const jwtAccepted =
    given.has('AUTH_JWT_SECRET') ||
    given.has('AUTH_JWKS_URL') ||
    (!hasAuthMethod(given) && values.NODE_ENV !== 'production')
  if (!jwtAccepted)
    for (const name of JWT_ONLY.filter((one) => given.has(one)))
      faults.push(
        `${name} is set, but no JWT is accepted: set AUTH_JWT_SECRET or AUTH_JWKS_URL, or remove it`
      )
  return faults
}

function storeFaults({ values, given }: Pick<Reading, 'values' | 'given'>): string[] {
  const { STORE, REDIS_URL, REDIS_SHARDS = 1 } = values
  if (STORE === 'redis')
    return given.has('REDIS_URL')
      ? []
      : ['REDIS_URL is required with STORE=redis: set the address of Redis']
  if (STORE === undefined) return [] // it has a fault of its own
  const unused: SettingName[] = []
  if (REDIS_URL !== undefined) unused.push('REDIS_URL')
  if (REDIS_SHARDS !== 1) unused.push('REDIS_SHARDS')
  return unused.map(
    (name) =>
      `${name} is set, but STORE is ${STORE}, which shares nothing with other nodes: set STORE=redis, or remove it`
  )
}

/** Scopes for a name without a key are a fault: the name is misspelt, or its key is gone. */
function scopeFaults({ values, given }: Pick<Reading, 'values' | 'given'>): string[] {
  const { PUBLISH_KEYS, PUBLISH_SCOPES = [], NODE_ENV } = values
  // Missing or malformed keys have a fault of their own.
  if (PUBLISH_KEYS === undefined && (given.has('PUBLISH_KEYS') || NODE_ENV === 'production'))
    return []
  const names = new Set(PUBLISH_KEYS?.map(({ name }) => name) ?? [DEVELOPMENT_NAME])
  return PUBLISH_SCOPES.filter(({ name }) => !names.has(name)).map(
    ({ name }) =>
      `PUBLISH_SCOPES names ${name}, but PUBLISH_KEYS has no key of that name: correct the name, add its key, or remove it`
  )
}
