/** Cookies of one name that are looked at: more than a browser has paths and domains above a page. */
const MAX_VALUES = 32
/** Pieces that a long cookie is cut into: they fit into a head of 32 KiB at 1 KiB each. */
const MAX_PIECES = 32

/**
 * The values of the cookies of one name, in the order in which they came: cookies of several paths or domains share a name. Last
 * comes what `name.0`, `name.1` … are together: libraries cut a value into such pieces where it is longer than a cookie may be.
 * Quotes about a value are taken off (RFC 6265, 4.1.1), percent-encoding is undone if it can be.
 *
 * By hand: the parsers of @fastify/cookie and of others keep one value of each name.
 */
export function readCookies(header: string, name: string): string[] {
  const values = new Set<string>()
  const pieces = new Map<string, string>()
  for (const pair of header.split(';')) {
    const equals = pair.indexOf('=')
    if (equals < 0) continue
    const key = pair.slice(0, equals).trim()
    if (!key.startsWith(name)) continue
    const value = decoded(unquoted(pair.slice(equals + 1).trim()))
    if (value === '') continue
    if (key === name && values.size < MAX_VALUES) values.add(value)
    else if (!pieces.has(key)) pieces.set(key, value)
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

function decoded(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value // not percent-encoded, then
  }
}
