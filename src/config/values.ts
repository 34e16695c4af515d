import { isIP } from 'node:net'
import { z } from 'zod'
import { MAX_TIMER_MS } from '../bounds/limits.ts'
import { parseRedisUrl } from '../stores/redis/redis-url.ts'

/** A key of a producer or an operator, and the name by which it is logged and counted. */
export interface NamedKey {
  readonly name: string
  readonly key: string
}

/**
 * Fastify's `trustProxy`. Hops are a function, because Fastify trusts no proxy if it is given a
 * number.
 */
export type TrustProxy = boolean | string[] | ((address: string, hop: number) => boolean)

/** Empty counts as unset: compose files pass an empty value for a variable without one. */
export const isSet = (value: string | undefined): value is string =>
  value !== undefined && value.trim() !== ''

// No message repeats the value: it may be a secret in the wrong place.

const wholeNumber = (low: number, high: number, message: string) =>
  z
    .string()
    .regex(/^(?:0|[1-9]\d{0,15})$/, message)
    .transform(Number)
    .refine((value) => value >= low && value <= high, message)

/** A TCP port. */
export const port = wholeNumber(
  0,
  65_535,
  'must be a whole number from 0 to 65535 (0 lets the system choose)'
)
/** A duration that a timer of Node can hold. */
export const milliseconds = (high = MAX_TIMER_MS) =>
  wholeNumber(100, high, `must be a whole number of milliseconds from 100 to ${high}, digits only`)
/** A limit; 0 switches it off. */
export const limit = wholeNumber(
  0,
  Number.MAX_SAFE_INTEGER,
  'must be a whole number, 1 or more, digits only; 0 switches it off'
)
/** A limit of which 0 becomes the largest safe integer, so that comparisons need no second case. */
export const limitOrInfinite = limit.transform((value) => value || Number.MAX_SAFE_INTEGER)
/** One of the given words. */
export const oneOf = <const T extends readonly string[]>(names: T) =>
  z.enum(names, { error: `must be one of ${names.join(', ')}` })
/** Any text. */
export const text = z.string()

/** An IP address or a host name. */
export const host = z
  .string()
  .regex(
    /^[A-Za-z0-9_.:%-]{1,255}$/,
    'must be an IP address or a host name, without scheme and port'
  )

/** Empty, or a path, from which a slash at the end is removed. */
export const basePath = z
  .string()
  .regex(
    /^(?:\/?|(?:\/[A-Za-z0-9._~-]+)+\/?)$/,
    "must be a path such as /notify: '/' first, then letters, digits and . _ ~ -"
  )
  .refine(
    (path) => !path.split('/').some((part) => part === '.' || part === '..'),
    "must not contain '.' or '..' as a part"
  )
  .transform((path) => path.replace(/\/$/, ''))

function isHttpUrl(value: string): boolean {
  const url = URL.canParse(value) ? new URL(value) : undefined
  return (url?.protocol === 'http:' || url?.protocol === 'https:') && url.hash === ''
}

/** A URL that this process calls, without user and password, because `fetch` refuses those. */
export const httpUrl = z
  .string()
  .refine(isHttpUrl, 'must be an absolute http:// or https:// URL without a fragment')
  .refine(
    (value) =>
      !URL.canParse(value) || (new URL(value).username === '' && new URL(value).password === ''),
    'must not contain a user or a password'
  )

/** The URL at which clients reach this service. */
export const publicUrl = httpUrl
  .refine((value) => !value.includes('?'), 'must not contain a query')
  .transform((value) => value.replace(/\/+$/, ''))

const ORIGIN =
  "must list origins (scheme://host[:port], lower case, no path, no trailing '/') separated by commas, such as 'https://app.example.com', 'https://*.example.com' (its subdomains) or 'capacitor://localhost'"

/** Schemes whose pages send `Origin: null`, or no `Origin`. */
const WITHOUT_ORIGIN = new Set([
  'about:',
  'blob:',
  'data:',
  'file:',
  'ftp:',
  'javascript:',
  'ws:',
  'wss:'
])

function isOrigin(value: string): boolean {
  // A star stands for one or more labels, below a domain that has one owner: never `*.com`.
  const [, scheme, suffix] = /^(https?:\/\/)\*\.(.+)$/.exec(value) ?? []
  if (scheme && suffix)
    return (
      /^(?:localhost|[^.]+\.[^.].*?)(?::\d+)?$/.test(suffix) && isOrigin(`${scheme}a.${suffix}`)
    )
  if (!URL.canParse(value) || value.includes('*')) return false
  const { origin, protocol, host } = new URL(value)
  if (protocol === 'http:' || protocol === 'https:') return origin === value
  // Apps have their own schemes, and `URL` gives those the origin `null`.
  return !WITHOUT_ORIGIN.has(protocol) && host !== '' && value === `${protocol}//${host}`
}

/** The entries of a list with commas, without white space around them; empty ones do not count. */
export const listOf = (value: string): string[] =>
  value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')

/** A list of origins for CORS. */
export const origins = z
  .string()
  .transform((value): readonly string[] => listOf(value))
  .refine(
    (list) => !list.includes('*'),
    "must not be '*': browsers send credentials, which a wildcard does not allow; list the origins"
  )
  .refine((list) => list.includes('*') || list.every(isOrigin), ORIGIN)

const NETWORKS = new Set(['loopback', 'linklocal', 'uniquelocal'])

function isNetwork(value: string): boolean {
  if (NETWORKS.has(value)) return true
  const [address = '', range, ...rest] = value.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0) return false
  if (range === undefined) return true
  return /^\d{1,3}$/.test(range) && Number(range) >= 1 && Number(range) <= (family === 4 ? 32 : 128)
}

const PROXY =
  'must be false, true, a number of hops, or addresses separated by commas (10.0.0.0/8, ::1, loopback, linklocal, uniquelocal)'

/** The proxies whose `X-Forwarded-*` headers count. */
export const trustProxy = z.string().transform((value, context): TrustProxy => {
  if (value === 'false' || value === '0') return false
  if (value === 'true') return true
  if (/^[1-9]\d?$/.test(value)) {
    const hops = Number(value)
    return (_address, hop) => hop < hops
  }
  const list = listOf(value)
  if (list.length > 0 && list.every(isNetwork)) return list
  context.addIssue({ code: 'custom', message: PROXY })
  return z.NEVER
})

/** True if the value is in quotes, which a shell would have removed. */
export const isQuoted = (value: string): boolean => /^(["'`]).*\1$/s.test(value)

/** Matches the name of a key. */
export const KEY_NAME = /^[A-Za-z0-9_.@/-]{1,64}$/
/** Characters that a header can carry, without the comma that separates a list. */
const KEY = /^[!-+\--~]{1,512}$/

function namedKeys(bareAllowed: boolean, message: string) {
  return z.string().transform((value, context): readonly NamedKey[] => {
    const list = listOf(value).map((entry, index) => {
      const colon = entry.indexOf(':')
      return colon < 0 && bareAllowed
        ? { name: `operator-${index + 1}`, key: entry }
        : { name: entry.slice(0, Math.max(0, colon)), key: entry.slice(colon + 1) }
    })
    if (list.length === 0 || list.some(({ name, key }) => !KEY_NAME.test(name) || !KEY.test(key))) {
      context.addIssue({ code: 'custom', message })
      return z.NEVER
    }
    // The quotes would count as part of the key, and no client would send them.
    if (list.some(({ key }) => isQuoted(key))) {
      context.addIssue({ code: 'custom', message: 'holds a key in quotes: remove the quotes' })
      return z.NEVER
    }
    if (new Set(list.map(({ key }) => key)).size < list.length) {
      context.addIssue({
        code: 'custom',
        message: 'contains the same key twice: give every name its own key'
      })
      return z.NEVER
    }
    return list
  })
}

const KEYS_ARE =
  'names of A–Z a–z 0–9 _ . @ / -, keys of visible ASCII without a comma, at most 512 characters'
/** Keys of producers: each has a name. */
export const publishKeys = namedKeys(
  false,
  `must be name:key, several separated by commas (${KEYS_ARE})`
)
/** Keys of operators: a key without a name is called `operator-<position>`. */
export const monitorKeys = namedKeys(
  true,
  `must be name:key, or a key without a colon, several separated by commas (${KEYS_ARE})`
)

/** JSON with `kty` or `keys`, RFC 7517. */
function isJwk(value: string): boolean {
  try {
    const parsed: unknown = JSON.parse(value)
    return typeof parsed === 'object' && parsed !== null && ('kty' in parsed || 'keys' in parsed)
  } catch {
    return false
  }
}

/** Also in base64, as deployment tools pass values of several lines. */
const isKeyFile = (value: string): boolean =>
  [value, Buffer.from(value, 'base64').toString()].some(
    (text) => text.includes('-----BEGIN ') || isJwk(text)
  )

/**
 * A shared secret for HMAC. The file of a key pair is refused: its public half is known, and anyone
 * who knows it could sign.
 */
export const secretText = z
  .string()
  .refine(
    (value) => !isKeyFile(value),
    'is a PEM or a JWK, not a shared secret: if your tokens are signed with a key pair, set AUTH_JWKS_URL; otherwise make a secret with: openssl rand -hex 32'
  )

/** A secret of HS256, as long as its hash (RFC 7518, 3.2). */
export const jwtSecret = secretText.refine(
  (value) => Buffer.byteLength(value) >= 32,
  'must be at least 32 bytes long; make one with: openssl rand -base64 48'
)

/** Accepted values of `aud`; empty if none is required. */
export const audiences = z
  .string()
  .refine(
    (value) => value === '' || listOf(value).length > 0,
    'must name at least one audience; separate several with commas'
  )
  .transform((value): readonly string[] => listOf(value))

/**
 * The name of a claim, or a JSON pointer to it (RFC 6901), where `~` must be followed by 0 or 1.
 */
export const claim = z
  .string()
  .regex(
    /^(?:[^/\s][^\s]{0,199}|(?:\/(?:[^~\s]|~[01])*){1,20})$/,
    'must be the name of a claim, or a JSON pointer such as /app/userId'
  )
  .refine((name) => !name.split('/').includes('__proto__'), 'must not name __proto__')

/** The name of a cookie: a token (RFC 6265, 4.1.1). */
export const cookieName = z
  .string()
  .regex(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/, 'must be the name of a cookie, such as session')

/** An address of Redis: one server, a Cluster, or Sentinels. */
export const redisUrl = z
  .string()
  .trim()
  .refine(
    (value) => parseRedisUrl(value) !== undefined,
    'must be redis://host:port, rediss://host:port, redis://host:port,host:port (Cluster) or redis+sentinel://host:port,host:port/master; write user:password@ (percent-encoded) before the first host, and /database after a single host'
  )

/** Each shard is a log that every process follows: 64 is as many as one process follows lightly. */
export const shards = wholeNumber(1, 64, 'must be a whole number from 1 to 64')
/** The prefix of keys in Redis. */
export const redisPrefix = z
  .string()
  .regex(/^[A-Za-z0-9_.:-]{1,64}$/, 'must be 1–64 characters of A–Z a–z 0–9 _ . : -')
