import { existsSync, readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import fp from 'fastify-plugin'
import Negotiator from 'negotiator'
import { addVary } from './transports/common-headers.ts'
import { entityTag, isCurrent } from './transports/entity-tag.ts'

/** The same path from `src`, in development, and from `dist`. */
const FILE = new URL('../../dist/client.js', import.meta.url)

const HEADERS = {
  // Fresh for five minutes; after that a conditional request gets a 304.
  'cache-control': 'public, max-age=300',
  'cross-origin-resource-policy': 'cross-origin'
} as const

/**
 * `GET /client.js`: the browser SDK for a script tag, as the build writes it. Throws if it is not
 * built.
 */
export default fp(
  async (app) => {
    if (!existsSync(FILE)) throw new Error('dist/client.js is missing: run npm run build')
    const plain = readFileSync(FILE)
    // Two encodings are two representations, each with its own tag (RFC 9110, 8.8.3.3).
    const representations = {
      identity: { content: plain, etag: entityTag(plain) },
      gzip: { content: gzipSync(plain, { level: 9 }), etag: entityTag(plain, '-gzip') }
    }

    app.get('/client.js', { schema: { hide: true } }, async (request, reply) => {
      const gzip = new Negotiator(request.raw).encodings(['gzip', 'identity'])[0] === 'gzip'
      const { content, etag } = representations[gzip ? 'gzip' : 'identity']
      reply.headers(HEADERS).header('etag', etag)
      addVary(reply, 'Accept-Encoding')
      // Public: a page of any origin may load it and check its integrity.
      if (!reply.hasHeader('access-control-allow-origin'))
        reply.header('access-control-allow-origin', '*')
      if (isCurrent(request, etag)) return reply.code(304).send()
      if (gzip) reply.header('content-encoding', 'gzip')
      return reply.type('text/javascript; charset=utf-8').send(content)
    })
  },
  { name: 'client-script' }
)
