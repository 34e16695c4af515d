import type { IncomingHttpHeaders } from 'node:http'
import { isIP } from 'node:net'
import fp from 'fastify-plugin'

/**
 * Most addresses kept, the nearest proxy last. A longer list is forged, and a string kept from
 * one would keep the whole request head in memory.
 */
const MAX_HOPS = 20
/**
 * How a proxy hides or does not know an address (RFC 7239, 6.2). It stays in the list, because
 * `TRUST_PROXY` may count hops.
 */
const UNKNOWN = 'unknown'
const BRACKETED = /^\[([^\]]+)\](?::\d+)?$/
const IPV4_WITH_PORT = /^([\d.]+):\d+$/
const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i
/** Schemes that Traefik and others send for a WebSocket. */
const SCHEMES: Readonly<Record<string, string>> = { ws: 'http', wss: 'https' }

const unquoted = (value: string): string => value.trim().replace(/^"(.*)"$/, '$1')

/**
 * An address without port, brackets and zone. `isIP` rather than ipaddr.js, which also accepts
 * `127.1` and hexadecimal.
 */
function addressOf(entry: string): string {
  const bare = unquoted(entry)
  const address = (BRACKETED.exec(bare)?.[1] ?? IPV4_WITH_PORT.exec(bare)?.[1] ?? bare).replace(
    /%.*$/,
    ''
  )
  if (isIP(address) === 0) return UNKNOWN
  return MAPPED.exec(address)?.[1] ?? address.toLowerCase()
}

/** The value of a header; undefined if it is missing or blank. */
const given = (value: string | string[] | undefined): string | undefined => {
  const text = Array.isArray(value) ? value.join(',') : value
  return text?.trim() ? text : undefined
}

/** The first element of a list: what the proxy nearest to the client saw. */
const firstOf = (value: string): string => unquoted(value.replace(/,.*/s, ''))

/**
 * Rewrites X-Forwarded-For, -Proto and -Host, which proxies write in many forms, into the form that
 * Fastify reads: addresses without ports, the scheme http or https, one host with its port.
 */
export function normalizeForwarded(headers: IncomingHttpHeaders): void {
  const by = given(headers['x-forwarded-for'])
  if (by !== undefined) {
    const entries = by.split(',').filter((entry) => entry.trim() !== '')
    headers['x-forwarded-for'] = entries.slice(-MAX_HOPS).map(addressOf).join(', ')
  }
  const proto = given(headers['x-forwarded-proto'])
  if (proto !== undefined) {
    const scheme = firstOf(proto).toLowerCase()
    headers['x-forwarded-proto'] = SCHEMES[scheme] ?? scheme
  }
  const forwardedHost = given(headers['x-forwarded-host'])
  const host = forwardedHost === undefined ? headers.host : firstOf(forwardedHost)
  const port = firstOf(given(headers['x-forwarded-port']) ?? '')
  // 80 and 443 are default ports, or the guess of a proxy behind the one that terminates TLS.
  const addsPort =
    /^\d{1,5}$/.test(port) &&
    port !== '80' &&
    port !== '443' &&
    host !== undefined &&
    !/:\d+$/.test(host)
  if (addsPort) headers['x-forwarded-host'] = `${host}:${port}`
  else if (forwardedHost !== undefined) headers['x-forwarded-host'] = host
}

/**
 * Normalizes the X-Forwarded headers of each request. Register it first, and only if a proxy is
 * trusted.
 */
export default fp(
  async (app) => {
    app.addHook('onRequest', (request, _reply, done) => {
      normalizeForwarded(request.raw.headers)
      done()
    })
  },
  { name: 'forwarded' }
)
