import type { IncomingHttpHeaders } from 'node:http'
import { isIP } from 'node:net'
import fp from 'fastify-plugin'

/** Proxies in a row, nearest last; more is made up, and an address that is kept must not keep a head of 32 KiB with it. */
const MAX_HOPS = 20
/** How a proxy says that it does not know, or will not tell (RFC 7239, 6.2). It keeps its place: hops are counted. */
const UNKNOWN = 'unknown'
const BRACKETED = /^\[([^\]]+)\](?::\d+)?$/
const IPV4_WITH_PORT = /^([\d.]+):\d+$/
const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i
/** What Traefik and others write for a WebSocket. */
const SCHEMES: Readonly<Record<string, string>> = { ws: 'http', wss: 'https' }

const unquoted = (value: string): string => value.trim().replace(/^"(.*)"$/, '$1')

/** An address as a proxy wrote it, without port, brackets and zone. */
function addressOf(entry: string): string {
  const bare = unquoted(entry)
  const address = (BRACKETED.exec(bare)?.[1] ?? IPV4_WITH_PORT.exec(bare)?.[1] ?? bare).replace(
    /%.*$/,
    ''
  )
  if (isIP(address) === 0) return UNKNOWN
  return MAPPED.exec(address)?.[1] ?? address.toLowerCase()
}

const given = (value: string | string[] | undefined): string | undefined => {
  const text = Array.isArray(value) ? value.join(',') : value
  return text?.trim() ? text : undefined
}

/** The first of a list: the proxy that the client spoke to. */
const firstOf = (value: string): string => unquoted(value.replace(/,.*/s, ''))

/**
 * Writes X-Forwarded-For, -Proto, -Host and -Port, in whatever form proxies write them, as Fastify reads them: addresses without
 * ports, a scheme of HTTP, one host with its port.
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
  // 80 and 443 are the schemes' own, or what a proxy behind the one that speaks TLS takes for the port.
  const tells =
    /^\d{1,5}$/.test(port) &&
    port !== '80' &&
    port !== '443' &&
    host !== undefined &&
    !/:\d+$/.test(host)
  if (tells) headers['x-forwarded-host'] = `${host}:${port}`
  else if (forwardedHost !== undefined) headers['x-forwarded-host'] = host
}

/** Registered first, and only if a proxy is trusted: hooks and routes read what the proxies say in one form. */
export default fp(
  async (app) => {
    app.addHook('onRequest', (request, _reply, done) => {
      normalizeForwarded(request.raw.headers)
      done()
    })
  },
  { name: 'forwarded' }
)
