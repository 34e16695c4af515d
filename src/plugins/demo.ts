import { readdirSync } from 'node:fs'
import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { TopicName, UserName } from '../log/names.ts'
import { type ServedFile, serveFiles } from './transports/serve-files.ts'

interface DemoOptions {
  /** Issues a subscriber JWT. */
  token(user: string, topics: string[]): string
  /** Stays in the process: the page publishes through the routes below `/demo`. */
  readonly publishKey: string
}

const own = (file: string): URL => new URL(`../demo/${file}`, import.meta.url)
const FILES: readonly ServedFile[] = [
  { path: '/demo', source: own('page.html') },
  { path: '/demo/common.css', source: own('../dashboard/common.css') },
  ...readdirSync(own('.'))
    .filter((file) => /\.(?:js|css)$/.test(file))
    .map((file) => ({ path: `/demo/${file}`, source: own(file) }))
]

/** Requests that the page's own backend would send for its visitors, and where they go. */
const FORWARDED = { '/demo/publish': '/v1/notifications', '/demo/ticket': '/v1/tickets' } as const

const Person = z.strictObject({ user: UserName, topics: z.array(TopicName).max(10) })

/**
 * A page to try Bellwire with, and the backend that such a page would have. For development only:
 * it lets anyone act as any user.
 */
export default fp<DemoOptions>(
  async (instance, { token, publishKey }) => {
    const app = instance.withTypeProvider<ZodTypeProvider>()

    serveFiles(app, FILES, 'demo')
    // A person who opens the service in a browser expects a page.
    app.get('/', { schema: { hide: true } }, async (_request, reply) =>
      reply.redirect(`${app.prefix}/demo`)
    )

    app.post('/demo/token', { schema: { hide: true, body: Person } }, async ({ body }, reply) => {
      reply.header('cache-control', 'no-store')
      return { token: token(body.user, body.topics) }
    })

    for (const [path, url] of Object.entries(FORWARDED)) {
      app.post(
        path,
        { schema: { hide: true, body: z.record(z.string(), z.unknown()) } },
        async (request, reply) => {
          const answer = await app.inject({
            method: 'POST',
            url: `${app.prefix}${url}`,
            headers: { authorization: `Bearer ${publishKey}` },
            payload: request.body
          })
          return reply
            .code(answer.statusCode)
            .type(String(answer.headers['content-type'] ?? 'application/json'))
            .send(answer.payload)
        }
      )
    }
  },
  { name: 'demo' }
)
