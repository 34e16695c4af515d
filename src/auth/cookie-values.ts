/** Reads a `Cookie` header: names and values, percent-encoding undone; of several cookies of one name the first. */
export type CookieParser = (header: string) => Readonly<Record<string, string>>

/** Cookies of one name that are looked at: more than a browser has paths and domains above a page. */
const MAX_VALUES = 32
/** Pieces that a long cookie is cut into: they fit into a head of 32 KiB at 1 KiB each. */
const MAX_PIECES = 32

/**
 * The values of all cookies of one name, in the order sent: cookies of several paths or domains share a
 * name. The last one is the concatenation of `name.0`, `name.1` …: libraries cut a value that is longer
 * than a cookie may be. Quotes around a value are removed (RFC 6265, 4.1.1).
 */
export function cookieValues(header: string, name: string, parse: CookieParser): string[] {
  const values = new Set<string>()
  const pieces = new Map<string, string>()
  // One cookie at a time, since the parser keeps only the first of a name.
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
