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
