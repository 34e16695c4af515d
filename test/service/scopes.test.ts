import t from 'tap'
import { call, MONITOR_KEY, runService, serviceEnv, startService } from './harness.ts'

const KEYS = {
  all: 'key-with-all-scopes-0',
  publish: 'key-that-publishes-01',
  spare: 'key-that-publishes-02',
  tickets: 'key-for-tickets-00001',
  users: 'key-for-users-0000001',
  events: 'key-for-events-000001'
}
const service = await startService(t, {
  env: {
    PUBLISH_KEYS: `all:${KEYS.all},publish:${KEYS.publish},publish:${KEYS.spare},tickets:${KEYS.tickets},both:${KEYS.users},events:${KEYS.events}`,
    PUBLISH_SCOPES: 'publish:publish,tickets:tickets,both:users+tickets,events:events'
  }
})

const notification = { to: { user: 'u' }, type: 't' }
const { id } = (
  await call('POST', `${service.url}/v1/notifications`, { key: KEYS.all, body: notification })
).body

/** Every route of producers with its scope. */
const ROUTES = [
  ['POST', '/v1/notifications', 'publish', notification],
  ['POST', '/v1/notifications/batch', 'publish', { notifications: [notification] }],
  ['GET', `/v1/notifications/${id}`, 'publish'],
  ['HEAD', `/v1/notifications/${id}`, 'publish'],
  ['DELETE', '/v1/notifications?user=u&key=k', 'publish'],
  ['POST', '/v1/tickets', 'tickets', { user: 'u' }],
  ['GET', '/v1/presence?users=u', 'users'],
  ['DELETE', '/v1/users/nobody/connections', 'users'],
  ['DELETE', '/v1/users/nobody', 'users'],
  ['DELETE', `/v1/notifications/${id}`, 'publish']
] as const

/** The scopes of each key. */
const HELD = {
  all: ['publish', 'tickets', 'users'],
  publish: ['publish'],
  spare: ['publish'],
  tickets: ['tickets'],
  users: ['users', 'tickets'],
  events: []
} as const satisfies Record<keyof typeof KEYS, readonly string[]>

for (const [method, path, scope, body] of ROUTES) {
  t.test(`${method} ${path.replace(id, '{id}')} needs a key with the scope ${scope}`, async (t) => {
    for (const [name, held] of Object.entries(HELD)) {
      const { status, body: answer } = await call(method, `${service.url}${path}`, {
        key: KEYS[name as keyof typeof KEYS],
        ...(body === undefined ? {} : { body })
      })
      if ((held as readonly string[]).includes(scope))
        t.not(status, 403, `a key with ${held.join('+')}`)
      else {
        t.equal(status, 403, `a key with ${held.join('+') || 'events'}`)
        if (method === 'HEAD') continue
        t.match(answer, {
          type: 'https://bellwire.dev/problems/forbidden',
          detail: new RegExp(`lacks the scope ${scope}:`)
        })
      }
    }
    const { status } = await call(method, `${service.url}${path}`, { key: 'no-such-key' })
    t.equal(status, 401, 'a wrong key is not told what it lacks')
  })
}

t.test('the document names the scope of every route of producers', async (t) => {
  const { paths } = (await call('GET', `${service.url}/documentation/json`)).body
  for (const [method, path, scope] of ROUTES) {
    if (method === 'HEAD') continue
    const route = path.replace(id, '{id}').replace('nobody', '{user}').replace(/\?.*/, '')
    t.same(paths[route][method.toLowerCase()].security, [{ producer: [scope] }], path)
  }
})

t.test('a publish that lacks the scope counts as rejected', async (t) => {
  const { publish } = (await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })).body
  t.ok(publish.rejectedBy.forbidden >= 6, JSON.stringify(publish))
})

t.test('a scope without a key, or an unknown one, stops the start with one line', async (t) => {
  for (const [scopes, line] of [
    ['nobody:publish', /PUBLISH_SCOPES names nobody, but PUBLISH_KEYS has no key of that name/],
    ['tests:publish+admin', /PUBLISH_SCOPES must be name:scope\+scope/]
  ] as const) {
    const env = serviceEnv('/nonexistent', { PUBLISH_SCOPES: scopes })
    const { code, stdout, stderr } = await runService([], env)
    t.equal(code, 1)
    t.match(stdout + stderr, line)
    t.equal((stdout + stderr).match(/PUBLISH_SCOPES (?:must|names)/g)?.length, 1)
  }
})
