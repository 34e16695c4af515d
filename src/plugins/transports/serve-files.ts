import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { FastifyInstance } from 'fastify'
import { entityTag, isCurrent } from './entity-tag.ts'
import { POLICIES } from './policies.ts'

/** Media types of the files of our pages. */
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8'
}

/** A file, and the path of the route that serves it. */
export interface ServedFile {
  readonly path: string
  readonly source: URL
}

/**
 * Adds a public route for each file, which is read once. `@fastify/static` would derive entity tags
 * from size and modification time: container images are built with a fixed time, so a browser would
 * keep a stale script after an upgrade.
 */
export function serveFiles(
  app: FastifyInstance,
  files: readonly ServedFile[],
  policy: keyof typeof POLICIES
): void {
  for (const { path: url, source } of files) {
    const content = readFileSync(source)
    const etag = entityTag(content)
    const headers = {
      etag,
      'cache-control': 'no-cache',
      'content-security-policy': POLICIES[policy]
    }
    const type = TYPES[path.extname(source.pathname)] ?? 'application/octet-stream'
    app.get(url, { schema: { hide: true } }, async (request, reply) => {
      reply.headers(headers)
      return isCurrent(request, etag) ? reply.code(304).send() : reply.type(type).send(content)
    })
  }
}
