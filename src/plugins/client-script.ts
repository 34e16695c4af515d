import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import fp from 'fastify-plugin'

/** The same from `src`, where it runs in development, and from `dist`. */
const FILE = new URL('../../dist/client.js', import.meta.url)
/** Fresh for as long as a page visit; then one question and a 304. */
const CACHE = 'public, max-age=300'

/** `GET /client.js`: the browser SDK for a script tag, made by the build. The same for everyone. */
export default fp(
  async (app) => {
    if (!existsSync(FILE)) throw new Error('dist/client.js is missing: run npm run build')
    const plain = readFileSync(FILE)
    const packed = gzipSync(plain, { level: 9 })
    const tag = createHash('sha256').update(plain).digest('base64url').slice(0, 22)

    app.get('/client.js', { schema: { hide: true } }, async (request, reply) => {
      const gzip = /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''))
      // Two encodings are two representations, each with its own tag (RFC 9110, 8.8.3.3).
      const etag = `"${tag}${gzip ? '-gzip' : ''}"`
      reply.headers({
        etag,
        'cache-control': CACHE,
        'cross-origin-resource-policy': 'cross-origin'
      })
      const vary = reply.getHeader('vary')
      reply.header('vary', vary === undefined ? 'Accept-Encoding' : `${vary}, Accept-Encoding`)
      // Public: a page of any origin may load it and check its integrity.
      if (!reply.hasHeader('access-control-allow-origin'))
        reply.header('access-control-allow-origin', '*')
      const known = String(request.headers['if-none-match'] ?? '').split(',')
      if (known.some((one) => [etag, '*'].includes(one.trim().replace(/^W\//, ''))))
        return reply.code(304).send()
      if (gzip) reply.header('content-encoding', 'gzip')
      return reply.type('text/javascript; charset=utf-8').send(gzip ? packed : plain)
    })
  },
  { name: 'client-script' }
)
