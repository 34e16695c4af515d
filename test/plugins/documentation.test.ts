import t from 'tap'
import { json, servePlugins } from '../fixtures/serve-plugins.ts'

interface Operation {
  summary?: string
  tags?: string[]
  security?: unknown[]
  requestBody?: { content: Record<string, { schema: { properties?: Record<string, unknown> } }> }
  responses: Record<string, { content?: Record<string, unknown> }>
}
interface Document {
  openapi: string
  servers: { url: string }[]
  paths: Record<string, Record<string, Operation>>
  components: { securitySchemes: Record<string, unknown> }
}

t.test('every route is documented, with its problems, with and without a base path', async (t) => {
  for (const basePath of ['', '/bell']) {
    const served = await servePlugins(t, {
      basePath,
      before: (app) => {
        app.get(
          '/v1/stream',
          { schema: { tags: ['stream'], summary: 'Stream', produces: ['text/event-stream'] } },
          async () => ''
        )
      }
    })
    const document = await json<Document>(await fetch(`${served.address}/documentation/json`))
    t.match(document.openapi, /^3\.1/)
    t.strictSame(document.servers, [{ url: basePath || '/' }])
    t.strictSame(Object.keys(document.components.securitySchemes).sort(), ['bearer', 'cookie', 'operator', 'producer', 'ticket'])
    t.strictSame(Object.keys(document.paths).sort(), [
      '/v1/inbox',
      '/v1/inbox/archive',
      '/v1/inbox/counts',
      '/v1/inbox/read',
      '/v1/inbox/seen',
      '/v1/inbox/unread',
      '/v1/notifications',
      '/v1/notifications/batch',
      '/v1/notifications/{id}',
      '/v1/stream',
      '/v1/tickets',
      '/v1/users/{user}',
      '/v1/users/{user}/connections'
    ])
    for (const [path, operations] of Object.entries(document.paths)) {
      for (const [method, operation] of Object.entries(operations)) {
        t.ok(operation.summary && operation.tags?.length, `${method} ${path}`)
        t.ok(operation.responses['default']?.content?.['application/problem+json'], `${method} ${path}`)
      }
    }
    t.ok(document.paths['/v1/stream']?.['get']?.responses['200']?.content?.['text/event-stream'])
    const body = document.paths['/v1/notifications']?.['post']?.requestBody?.content['application/json']?.schema.properties
    t.match(Object.keys(body ?? {}), [
      'to',
      'type',
      'title',
      'body',
      'url',
      'level',
      'data',
      'key',
      'expiresAt',
      'ttl',
      'ephemeral'
    ])
  }
})

t.test('the page loads what it needs, also over plain HTTP', async (t) => {
  const served = await servePlugins(t, { basePath: '/bell' })
  const response = await fetch(`${served.address}/documentation`)
  t.equal(response.status, 200)
  t.match(response.headers.get('content-type'), /text\/html/)
  const policy = response.headers.get('content-security-policy') ?? ''
  t.match(policy, /script-src 'self'/)
  t.notMatch(policy, /upgrade-insecure-requests/)
  const parts = [...(await response.text()).matchAll(/(?:src|href)="([^"]+\.(?:js|css))"/g)].map(([, part]) => part!)
  t.ok(parts.length >= 3)
  for (const part of parts) t.equal((await fetch(new URL(part, response.url))).status, 200, part)
})
