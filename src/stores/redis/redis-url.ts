/** Host and port of one server. */
export interface HostPort {
  readonly host: string
  readonly port: number
}

interface Credentials {
  readonly tls: boolean
  readonly username: string | undefined
  readonly password: string | undefined
}

/** Where Redis is, and how it is set up. */
export type RedisAddress =
  | (Credentials & {
      readonly kind: 'single'
      readonly host: string
      readonly port: number
      readonly db: number
    })
  | (Credentials & { readonly kind: 'cluster'; readonly nodes: readonly HostPort[] })
  | (Credentials & {
      readonly kind: 'sentinel'
      readonly sentinels: readonly HostPort[]
      readonly master: string
      readonly db: number
      /** For the Sentinels themselves. */
      readonly sentinelUsername: string | undefined
      readonly sentinelPassword: string | undefined
    })

/**
 * `scheme://[user:password@]host[:port][,host[:port]…][/rest][?sentinel=user:password]`; the last
 * `@` ends the credentials.
 */
const FORM =
  /^(rediss?|rediss?\+sentinel):\/\/(?:([^\s]*)@)?([^\s/@?]+)(?:\/([^\s/@?]*))?(?:\/([^\s/@?]*))?(?:\?sentinel=([^\s@&]*))?$/
const HOST = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::(\d{1,5}))?$/
const DB = /^\d{1,4}$/

/**
 * Reads `REDIS_URL`. Undefined if it has another form; without a reason, which could show a
 * password.
 */
export function parseRedisUrl(url: string): RedisAddress | undefined {
  const match = FORM.exec(url)
  if (!match) return undefined
  const [, scheme = '', userinfo, authority = '', first = '', second = '', own] = match
  const credentials = parseCredentials(userinfo, scheme.startsWith('rediss'))
  const sentinel = scheme.endsWith('+sentinel')
  const hosts = parseHosts(authority, sentinel ? 26_379 : 6379)
  if (credentials === undefined || hosts === undefined) return undefined
  if (sentinel) {
    if (first === '' || (second !== '' && !DB.test(second))) return undefined
    const sentinels = sentinelCredentials(credentials, own)
    if (sentinels === undefined) return undefined
    return {
      kind: 'sentinel',
      ...credentials,
      ...sentinels,
      sentinels: hosts,
      master: first,
      db: Number(second)
    }
  }
  if (own !== undefined) return undefined
  if (second !== '' || (first !== '' && !DB.test(first))) return undefined
  const db = Number(first)
  const [host, ...others] = hosts
  if (host !== undefined && others.length === 0)
    return { kind: 'single', ...credentials, ...host, db }
  // A Cluster has only one database.
  return db === 0 ? { kind: 'cluster', ...credentials, nodes: hosts } : undefined
}

function parseCredentials(userinfo: string | undefined, tls: boolean): Credentials | undefined {
  if (userinfo === undefined) return { tls, username: undefined, password: undefined }
  const colon = userinfo.indexOf(':')
  if (colon < 0) return undefined // Redis needs a password with a name
  try {
    const username = decodeURIComponent(userinfo.slice(0, colon))
    const password = decodeURIComponent(userinfo.slice(colon + 1))
    if (password === '') return undefined
    return { tls, username: username === '' ? undefined : username, password }
  } catch {
    return undefined // a stray `%`
  }
}

/** The credentials for the Sentinels: their own, or the password of the servers. */
function sentinelCredentials({ password }: Credentials, own: string | undefined) {
  // A Sentinel without a password accepts any for the user `default`, and refuses one without a
  // name.
  if (own === undefined)
    return { sentinelUsername: password && 'default', sentinelPassword: password }
  const read = parseCredentials(own, false)
  return read && { sentinelUsername: read.username ?? 'default', sentinelPassword: read.password }
}

function parseHosts(authority: string, defaultPort: number): readonly HostPort[] | undefined {
  const hosts: HostPort[] = []
  for (const part of authority.split(',')) {
    const match = HOST.exec(part)
    if (!match) return undefined
    const port = match[3] === undefined ? defaultPort : Number(match[3])
    if (port < 1 || port > 65_535) return undefined
    hosts.push({ host: match[1] ?? match[2] ?? '', port })
  }
  return hosts
}
