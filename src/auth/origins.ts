/** `https://*.example.com`, with an optional port; captures the parts before and after the star. */
const WILDCARD = /^(https?:\/\/)\*(\.[a-z0-9.-]+(?::\d+)?)$/
const SUBDOMAIN = /^[a-z0-9-]+(?:\.[a-z0-9-]+)*$/

/**
 * Returns a predicate that tells whether `CORS_ORIGINS` lists an origin. Browsers send `Origin` in
 * the serialized form of the HTML Standard (lower case, no default port, no path), so equal origins
 * are equal strings. An entry `https://*.example.com` covers subdomains at any depth, but not
 * `https://example.com` itself.
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

/** Which pages may act on behalf of a subscriber. */
export interface OriginOptions {
  /** Entries of `CORS_ORIGINS`. */
  readonly corsOrigins: readonly string[]
  /** PUBLIC_URL, whose own pages may act too; undefined if it is not set. */
  readonly publicUrl?: string | undefined
}

/** The address of Bellwire as the client sees it. */
interface SeenAddress {
  readonly protocol: string
  /** With the port, if the address has one. */
  readonly host: string
}

/** The origin of an address; undefined if it has none. Sandboxed pages send `null`. */
function originOf(address: string): string | undefined {
  if (!URL.canParse(address)) return undefined
  const { origin } = new URL(address)
  return origin === 'null' ? undefined : origin
}

/**
 * Returns a predicate that tells whether a page of an origin may act on behalf of a subscriber. It
 * may if its origin is Bellwire's own as the client sees it, that of `PUBLIC_URL`, or one of
 * `CORS_ORIGINS`.
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
