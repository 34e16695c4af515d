/**
 * Parses a `Cookie` header into names and percent-decoded values. If several cookies have one name,
 * it returns the first.
 */
export type CookieParser = (header: string) => Readonly<Record<string, string>>

/** How many cookies of one name are read: a page has fewer paths and domains above it. */
const MAX_VALUES = 32
/** Most pieces of a long cookie: at 1 KiB each they fill a request head of 32 KiB. */
const MAX_PIECES = 32

/**
 * The values of all cookies of one name, in the order sent: cookies of different paths or domains
 * may share a name. The last value is the concatenation of `name.0`, `name.1` …, into which
 * libraries split a value that is too long for one cookie. Quotes around a value are removed
 * (RFC 6265, 4.1.1).
 */
export function cookieValues(header: string, name: string, parse: CookieParser): string[] {
  const values = new Set<string>()
  const pieces = new Map<string, string>()
  // One cookie at a time, because the parser returns only the first of a name.
  for (const pair of header.split(';')) {
    if (!pair.trimStart().startsWith(name)) continue
    for (const [key, text] of Object.entries(parse(pair))) {
      const value = unquoted(text)
      if (value === '') continue
      if (key === name && values.size < MAX_VALUES) values.add(value)
      else if (!pieces.has(key)) pieces.set(key, value)
    }
  }
  let joined = ''
  for (let index = 0; index < MAX_PIECES; index++) {
    const piece = pieces.get(`${name}.${index}`)
    if (piece === undefined) break
    joined += piece
  }
  if (joined !== '') values.add(joined)
  return [...values]
}

const unquoted = (value: string): string => (/^".*"$/.test(value) ? value.slice(1, -1) : value)
