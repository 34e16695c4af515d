/** `https://*.example.com`, with an optional port: the part before and the part after the star. */
const WILDCARD = /^(https?:\/\/)\*(\.[a-z0-9.-]+(?::\d+)?)$/
const SUBDOMAIN = /^[a-z0-9-]+(?:\.[a-z0-9-]+)*$/

/**
 * Makes the test for `CORS_ORIGINS`. It takes the value of an `Origin` header, which browsers send in the serialized form of the
 * HTML Standard (lower case, no default port, no path), so that equal origins are equal strings. An entry `https://*.example.com`
 * covers subdomains at any depth, though not `https://example.com` itself.
 */
export function originMatcher(entries: readonly string[]): (origin: string) => boolean {
  const exact = new Set(entries)
  const wildcards = entries.flatMap((entry) => {
    const [, scheme, suffix] = WILDCARD.exec(entry) ?? []
    return scheme && suffix ? [{ scheme, suffix }] : []
  })
  return (origin) =>
    exact.has(origin) ||
    wildcards.some(
      ({ scheme, suffix }) =>
        origin.startsWith(scheme) &&
        origin.endsWith(suffix) &&
        SUBDOMAIN.test(origin.slice(scheme.length, -suffix.length))
    )
}

/** Whose pages may act in a subscriber's name. */
export interface OriginOptions {
  /** Entries of `CORS_ORIGINS`. */
  readonly corsOrigins: readonly string[]
  readonly publicUrl?: string | undefined
}

/** The address of the service as the client sees it. */
interface SeenAddress {
  readonly protocol: string
  /** With its port, if the address names one. */
  readonly host: string
}

/** The origin of an address; undefined if it has none (also for `null`, which sandboxed pages send). */
function originOf(address: string): string | undefined {
  if (!URL.canParse(address)) return undefined
  const { origin } = new URL(address)
  return origin === 'null' ? undefined : origin
}

/**
 * Makes the test whether a page of some origin may act in a subscriber's name: the service's own origin
 * as the client sees it, that of `PUBLIC_URL`, or one of `CORS_ORIGINS`.
 */
export function trustedOrigins({
  corsOrigins,
  publicUrl
}: OriginOptions): (seen: SeenAddress, origin: string) => boolean {
  const listed = originMatcher(corsOrigins)
  const published = publicUrl === undefined ? undefined : originOf(publicUrl)
  return ({ protocol, host }, origin) => {
    if (listed(origin)) return true
    const given = originOf(origin)
    return (
      given !== undefined && (given === published || given === originOf(`${protocol}://${host}`))
    )
  }
}
