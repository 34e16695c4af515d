import { readFileSync } from 'node:fs'
import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { TopicName, UserName } from '../log/names.ts'

interface DemoOptions {
  /** A fresh subscriber JWT. */
  token(user: string, topics: string[]): string
  /** Stays in the process: the page asks through the addresses below `/demo`. */
  readonly publishKey: string
}

/** Nothing inline, nothing from elsewhere, no text ever parsed as markup: what a page that shows other people's text should say. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

const SCRIPT = 'text/javascript; charset=utf-8'
const FILES = [
  { path: '/demo', file: 'page.html', type: 'text/html; charset=utf-8' },
  { path: '/demo/demo.css', file: 'demo.css', type: 'text/css; charset=utf-8' },
  ...['demo.js', 'panel.js', 'row.js', 'send.js', 'toasts.js', 'backend.js'].map((file) => ({
    path: `/demo/${file}`,
    file,
    type: SCRIPT
  }))
] as const

/** What a page's own backend would ask for in its visitors' name. */
const FORWARDED = { '/demo/publish': '/v1/notifications', '/demo/ticket': '/v1/tickets' } as const

const Person = z.strictObject({ user: UserName, topics: z.array(TopicName).max(10) })

/** The page of the first minute, and the backend that it would have; for development only, since it lets anyone be anyone. */
export default fp<DemoOptions>(
  async (instance, { token, publishKey }) => {
    const app = instance.withTypeProvider<ZodTypeProvider>()

    for (const { path, file, type } of FILES) {
      const content = readFileSync(new URL(`../demo/${file}`, import.meta.url))
      app.get(path, { schema: { hide: true } }, async (_request, reply) =>
        reply
          .header('content-security-policy', POLICY)
          .header('cache-control', 'no-cache')
          .type(type)
          .send(content)
      )
    }

    // Who opens the service in a browser looks for something to see.
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
