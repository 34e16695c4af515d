import { readFileSync } from 'node:fs'
import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { Name } from '../core/names.ts'

interface DemoOptions {
  /** A fresh subscriber JWT. */
  token(user: string, topics: string[]): string
  /** Stays in the process: the page publishes through `/demo/publish`. */
  readonly publishKey: string
  readonly cookieName: string
}

/** Topics that every visitor of the page reads. */
const TOPICS = ['news', 'project:7']

/** Nothing inline, nothing from elsewhere: what a page that shows other people's text should say. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const FILES = [
  { path: '/demo', file: 'page.html', type: 'text/html; charset=utf-8' },
  { path: '/demo/demo.css', file: 'demo.css', type: 'text/css; charset=utf-8' },
  { path: '/demo/demo.js', file: 'demo.js', type: 'text/javascript; charset=utf-8' }
] as const

/** The page of the first minute; for development only, since it lets anyone be anyone. */
export default fp<DemoOptions>(
  async (instance, { token, publishKey, cookieName }) => {
    const app = instance.withTypeProvider<ZodTypeProvider>()

    for (const { path, file, type } of FILES) {
      const content = readFileSync(new URL(`../demo/${file}`, import.meta.url))
      app.get(path, { schema: { hide: true } }, async (_request, reply) =>
        reply.header('content-security-policy', POLICY).header('cache-control', 'no-cache').type(type).send(content)
      )
    }

    app.post('/demo/session', { schema: { hide: true, body: z.strictObject({ user: Name }) } }, async (request, reply) => {
      const jwt = token(request.body.user, TOPICS)
      reply.header('set-cookie', `${cookieName}=${jwt}; Path=/; HttpOnly; SameSite=Lax`).header('cache-control', 'no-store')
      return { user: request.body.user, topics: TOPICS }
    })

    app.post('/demo/publish', { schema: { hide: true, body: z.record(z.string(), z.unknown()) } }, async (request, reply) => {
      const answer = await app.inject({
        method: 'POST',
        url: `${app.prefix}/v1/notifications`,
        headers: { authorization: `Bearer ${publishKey}` },
        payload: request.body
      })
      return reply
        .code(answer.statusCode)
        .type(String(answer.headers['content-type'] ?? 'application/json'))
        .send(answer.payload)
    })
  },
  { name: 'demo' }
)
