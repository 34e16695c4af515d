import t from 'tap'
import { launchChromium, noChromium } from '../fixtures/chromium.ts'
import { json, servePlugins } from '../fixtures/serve-plugins.ts'
import { call, PUBLISH_KEY, startService, tokenOf } from '../service/harness.ts'

interface Operation {
  operationId?: string
  summary?: string
  tags?: string[]
  security?: unknown[]
  parameters?: { name: string; in: string; required?: boolean; description?: string }[]
  requestBody?: {
    content: Record<string, { example?: unknown; schema: { properties?: Record<string, unknown> } }>
  }
  responses: Record<string, { description?: string; content?: Record<string, unknown> }>
}
interface Document {
  openapi: string
  servers: { url: string }[]
  paths: Record<string, Record<string, Operation>>
  components: { securitySchemes: Record<string, unknown> }
}

t.test(
  'the documentation has every route and its problems, with and without a base path',
  async (t) => {
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
      t.strictSame(Object.keys(document.components.securitySchemes).sort(), [
        'bearer',
        'cookie',
        'operator',
        'producer',
        'ticket'
      ])
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
          if (path !== '/v1/stream')
            t.match(
              operation.operationId,
              /^[a-z][A-Za-z]+$/,
              `${method} ${path} has a name for generated clients`
            )
          t.ok(
            operation.responses['default']?.content?.['application/problem+json'],
            `${method} ${path}`
          )
          for (const { description } of Object.values(operation.responses))
            t.notMatch(description, 'Default Response')
        }
      }
      t.ok(document.paths['/v1/stream']?.['get']?.responses['200']?.content?.['text/event-stream'])
      const body =
        document.paths['/v1/notifications']?.['post']?.requestBody?.content['application/json']
          ?.schema.properties
      t.match(Object.keys(body ?? {}), [
        'to',
        'type',
        'title',
        'body',
        'url',
        'image',
        'level',
        'data',
        'key',
        'expiresAt',
        'ttl',
        'ephemeral'
      ])
    }
  }
)

t.test('the documentation page loads everything it needs, even over plain HTTP', async (t) => {
  const served = await servePlugins(t, { basePath: '/bell' })
  const response = await fetch(`${served.address}/documentation`)
  t.equal(response.status, 200)
  t.match(response.headers.get('content-type'), /text\/html/)
  const policy = response.headers.get('content-security-policy') ?? ''
  t.match(policy, /script-src 'self'/)
  t.notMatch(policy, /upgrade-insecure-requests/)
  const parts = [...(await response.text()).matchAll(/(?:src|href)="([^"]+\.(?:js|css))"/g)].map(
    ([, part]) => part!
  )
  t.ok(parts.length >= 3)
  for (const part of parts) {
    const answer = await fetch(new URL(part, response.url))
    // Read to its end: an unread response would keep the server from closing.
    await answer.arrayBuffer()
    t.equal(answer.status, 200, part)
  }
})

t.test('the service accepts the documented example of every body as it is', async (t) => {
  const service = await startService(t)
  const published = await call('POST', `${service.url}/v1/notifications`, {
    key: PUBLISH_KEY,
    body: { to: { user: 'alice' }, type: 't' }
  })
  t.equal(published.status, 201)
  const { text, body: document }: { text: string; body: Document } = await call(
    'GET',
    `${service.url}/documentation/json`
  )
  const { cursor } = (await call('GET', `${service.url}/v1/inbox`, { key: tokenOf('alice') })).body
  t.notOk(
    text.includes(cursor.split('-')[0]),
    'the document is public, so it contains no cursor of this log'
  )
  const names = Object.values(document.paths).flatMap((operations) =>
    Object.values(operations).map((one) => one.operationId)
  )
  t.ok(names.every((name) => name !== undefined))
  t.equal(new Set(names).size, names.length, 'every operation id is unique')
  t.same(document.paths['/healthz']?.['get']?.security, [], 'a probe needs no key')
  const tried: string[] = []
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const [method, { requestBody, security }] of Object.entries(operations)) {
      if (!requestBody) continue
      const { example: shown } = requestBody.content['application/json']!
      t.ok(shown, `${method} ${path} has an example`)
      // The example cursor belongs to no log; a reader would put in one of their own.
      const example = path === '/v1/inbox/seen' ? { ...(shown as object), upTo: cursor } : shown
      const key = JSON.stringify(security).includes('producer')
        ? PUBLISH_KEY
        : tokenOf('alice', ['news'])
      const { status, body } = await call(method.toUpperCase(), `${service.url}${path}`, {
        key,
        body: example
      })
      t.ok(status === 200 || status === 201, `${path} answers ${status}`, { body })
      for (const result of body.results ?? [])
        t.equal(result.status, 201, 'every item of the batch is accepted')
      tried.push(path)
    }
  }
  t.same(tried.sort(), [
    '/v1/inbox/archive',
    '/v1/inbox/read',
    '/v1/inbox/seen',
    '/v1/inbox/unread',
    '/v1/notifications',
    '/v1/notifications/batch',
    '/v1/tickets'
  ])
  const headersOf = (path: string, method: string): string[] =>
    (document.paths[path]?.[method]?.parameters ?? [])
      .filter(
        (parameter) => parameter.in === 'header' && !parameter.required && parameter.description
      )
      .map(({ name }) => name)
  t.same(headersOf('/v1/notifications', 'post'), ['Idempotency-Key'])
  t.same(headersOf('/v1/notifications/batch', 'post'), ['Idempotency-Key'])
  t.same(headersOf('/v1/stream', 'get'), ['Last-Event-ID'])
  t.same(headersOf('/v1/changes', 'get'), ['Last-Event-ID'])
})

t.test(
  'the documentation page fits a phone, and its example can be published there',
  { skip: noChromium },
  async (t) => {
    const service = await startService(t)
    const browser = await launchChromium(t)
    const page = await browser.newPage({
      viewport: { width: 375, height: 780 },
      hasTouch: true,
      isMobile: true
    })
    const complaints: string[] = []
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
    page.on('pageerror', (error) => complaints.push(error.message))
    const width = (): Promise<number> => page.evaluate('document.documentElement.scrollWidth')

    await page.goto(`${service.url}/documentation`)
    const operation = page.locator('.opblock', { hasText: 'Publish a notification' })
    await operation.waitFor()
    t.equal(await page.title(), 'Bellwire')
    t.equal(await page.locator('img, .topbar').count(), 0, 'the page shows no logo of its library')
    t.equal(await width(), 375)

    await page.locator('button.authorize').first().click()
    const dialog = page.locator('.modal-ux')
    await dialog.locator('input').first().fill(PUBLISH_KEY)
    await dialog.locator('button[type=submit]').first().click()
    await dialog.locator('.close-modal').click()
    await operation.locator('.opblock-summary-control').click()
    await operation.locator('.try-out__btn').click()
    await operation.locator('button.execute').click()
    t.match(
      await operation.locator('.live-responses-table .response-col_status').last().textContent(),
      /^201/
    )
    await page
      .locator('.opblock', { hasText: 'as server-sent events' })
      .first()
      .locator('.opblock-summary-control')
      .click()
    await page.locator('[data-param-name="Last-Event-ID"]').waitFor()
    t.equal(await width(), 375, 'nothing is wider than the screen')
    t.same(complaints, [])
  }
)
