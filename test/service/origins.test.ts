import t from 'tap'
import { call, MONITOR_KEY, type Service, startService, tokenOf } from './harness.ts'

const APP = 'https://app.example'
const asked = (origin: string, method: string, headers = 'authorization') => ({
  origin,
  'access-control-request-method': method,
  'access-control-request-headers': headers
})

t.test('cross-origin requests', async (t) => {
  const service: Service = await startService(t, {
    env: {
      CORS_ORIGINS: `${APP},https://*.example.com,https://*.example.org:8443,capacitor://localhost`,
      BASE_PATH: '/bell'
    }
  })
  const at = (path: string): string => `${service.url}/bell${path}`
  const preflight = (path: string, origin: string, method = 'GET', headers?: string) =>
    call('OPTIONS', at(path), { headers: asked(origin, method, headers) })
  const token = { authorization: `Bearer ${tokenOf('ann')}` }

  t.test(
    'a listed origin may use all subscriber routes, with the headers that client libraries add',
    async (t) => {
      const headers =
        'authorization,content-type,last-event-id,cache-control,pragma,if-none-match,x-request-id,x-requested-with,traceparent,tracestate,baggage,sentry-trace'
      for (const path of [
        '/v1/stream',
        '/v1/socket',
        '/v1/changes',
        '/v1/inbox',
        '/v1/inbox/counts',
        '/v1/inbox/read',
        '/client.js'
      ]) {
        const answer = await preflight(path, APP, 'POST', headers)
        t.equal(answer.status, 204, path)
        t.equal(answer.headers.get('access-control-allow-origin'), APP, path)
        t.equal(answer.headers.get('access-control-allow-credentials'), 'true', path)
        const allowed = answer.headers
          .get('access-control-allow-headers')!
          .toLowerCase()
          .split(', ')
        t.same(
          headers.split(',').filter((name) => !allowed.includes(name)),
          [],
          path
        )
      }
      const counts = await call('GET', at('/v1/inbox/counts'), {
        headers: { origin: APP, ...token }
      })
      t.equal(counts.headers.get('access-control-allow-origin'), APP)
      t.match(counts.headers.get('vary'), /Origin/)
    }
  )

  t.test('a listed origin can neither read nor change producer and operator routes', async (t) => {
    for (const [path, method] of [
      ['/monitor/connections', 'GET'],
      ['/monitor/connections/x', 'DELETE'],
      ['/monitor', 'GET'],
      ['/metrics', 'GET'],
      ['/v1/notifications', 'POST'],
      ['/v1/users/ann', 'DELETE'],
      ['/documentation/json', 'GET']
    ] as const) {
      const answer = await preflight(path, APP, method)
      t.not(answer.status, 204, path)
      t.equal(answer.headers.get('access-control-allow-origin'), null, path)
      t.equal(answer.headers.get('access-control-allow-credentials'), null, path)
    }
    const rows = await call('GET', at('/monitor/connections'), {
      key: MONITOR_KEY,
      headers: { origin: APP }
    })
    t.equal(rows.status, 200)
    t.equal(rows.headers.get('access-control-allow-origin'), null)
    t.equal(rows.headers.get('cross-origin-resource-policy'), 'same-origin')
    t.equal(
      (await call('GET', at('/client.js'))).headers.get('cross-origin-resource-policy'),
      'cross-origin'
    )
  })

  t.test(
    'a cross-site page cannot close a connection with the browser’s remembered operator key',
    async (t) => {
      const close = (site: string) =>
        call('DELETE', at('/monitor/connections/none'), {
          key: MONITOR_KEY,
          headers: { 'sec-fetch-site': site }
        })
      t.equal((await close('cross-site')).status, 403)
      t.equal((await close('same-origin')).status, 404, 'the dashboard may')
    }
  )

  t.test('a wildcard origin covers subdomains at any depth and nothing else', async (t) => {
    const allowed = async (origin: string): Promise<boolean> =>
      (await preflight('/v1/stream', origin)).headers.get('access-control-allow-origin') === origin
    for (const origin of [
      'https://a.example.com',
      'https://b.a.example.com',
      'https://x.example.org:8443',
      'capacitor://localhost'
    ])
      t.ok(await allowed(origin), origin)
    for (const origin of [
      'https://example.com',
      'https://.example.com',
      'https://evilexample.com',
      'http://a.example.com',
      'https://a.example.com:444',
      'https://x.example.org',
      'https://a.example.com.evil.example',
      'https://evil.example/.example.com',
      'capacitor://localhost:1',
      'null'
    ])
      t.notOk(await allowed(origin), origin)
  })

  t.test(
    'a cookie authorises changes from a listed subdomain and from no other page',
    async (t) => {
      const mark = (origin: string) =>
        call('POST', at('/v1/inbox/read'), {
          headers: { origin, cookie: `session=${tokenOf('ann')}` },
          body: { ids: [] }
        })
      t.equal((await mark('https://a.example.com')).status, 200)
      t.equal((await mark('capacitor://localhost')).status, 200)
      t.equal((await mark('https://example.net')).status, 403)
    }
  )

  t.test(
    'an unlisted origin is logged once a minute with the setting that would allow it',
    async (t) => {
      const lines = (): Record<string, unknown>[] =>
        service
          .output()
          .split('\n')
          .filter((line) =>
            line.includes('a page called from an origin that CORS_ORIGINS does not list')
          )
          .map((line) => JSON.parse(line))
      t.equal(lines().length, 1, 'one line for all that were refused so far')
      t.match(lines()[0], { level: 40, origin: 'https://example.com', msg: /CORS_ORIGINS/ })
    }
  )
})
