/**
 * The value of one cookie in a Cookie header, read as @fastify/cookie reads it: the first of its name counts, percent-encoding is
 * undone where it can be. (Its own `parse` works only once its plugin was registered with an app.)
 */
export function readCookie(header: string, name: string): string | undefined {
  for (const pair of header.split(';')) {
    const equals = pair.indexOf('=')
    if (equals < 0 || pair.slice(0, equals).trim() !== name) continue
    return decoded(pair.slice(equals + 1).trim())
  }
  return undefined
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value // not percent-encoded, then
  }
}
