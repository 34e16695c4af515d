import type { Trouble } from '../../auth/sign-in-observer.ts'
import { KEY_SET_MAX_AGE_MS, SIGN_IN_FAILING_MS, STORE_CALM_MS } from '../../bounds/limits.ts'
import { duration, type Rule, YES } from './rule.ts'

const describe = ({ setting, origin, reason }: Trouble): string =>
  `${setting} (${origin}): ${reason}`

/** Can callers sign in, and only those who may? */
export const SIGN_IN_RULES: readonly Rule[] = [
  {
    code: 'sign-in-failing',
    severity: 'critical',
    level: ({ signIns }) => signIns.failingMs / SIGN_IN_FAILING_MS,
    firesAt: 1,
    // Any success, or two minutes without an attempt, sets the figure to 0: there is nothing
    // between.
    clearsBelow: 0.01,
    keepFiringForMs: STORE_CALM_MS,
    message: ({ signIns: { failingMs, trouble } }) =>
      trouble
        ? `Every sign-in has failed for ${duration(failingMs)}. ${describe(trouble)}.`
        : 'Every sign-in failed until a moment ago.',
    action: ({ signIns: { trouble } }) =>
      `Check ${trouble?.setting ?? 'AUTH_SESSION_URL and AUTH_JWKS_URL'}, and that its server answers requests from this machine. Until then new streams are asked to retry later; open streams continue.`
  },
  {
    code: 'key-set-outdated',
    severity: 'warning',
    level: ({ signIns: { keySet } }) => (keySet ? keySet.awayMs / KEY_SET_MAX_AGE_MS : 0),
    firesAt: 1,
    clearsBelow: 0.5,
    keepFiringForMs: STORE_CALM_MS,
    message: ({ signIns: { keySet } }) =>
      keySet
        ? `Fetching the key set has been failing for ${duration(keySet.awayMs)}. ${describe(keySet.trouble)}. ${
            keySet.leftMs > 0
              ? `The keys fetched earlier stay valid for another ${duration(keySet.leftMs)}.`
              : 'No valid keys are left.'
          }`
        : 'The key set could not be fetched until a moment ago.',
    action: () =>
      'Check AUTH_JWKS_URL, and that the issuer answers requests from this machine. Until then Bellwire rejects tokens signed with a new key.'
  },
  {
    code: 'development-credentials',
    // Anyone who knows the address can publish, read everything and disconnect everybody.
    severity: 'critical',
    level: (v) => Number(v.developmentKeys.length > 0 && (v.publicAddress || v.ownKeys.length > 0)),
    ...YES,
    message: (v) =>
      v.ownKeys.length > 0
        ? `Development keys, which are public, are in use for ${v.developmentKeys.join(', ')}, next to your own ${v.ownKeys.join(', ')}.`
        : 'The development keys, which are public, are in use on an address that others can reach.',
    action: () => 'Set NODE_ENV=production, PUBLISH_KEYS, MONITOR_KEYS and a subscriber credential.'
  }
]
