import { test } from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import { freePort } from '../fixtures/free-port.ts'
import { SECRET } from '../fixtures/jwt.ts'
import {
  call,
  connectionsOf,
  MONITOR_KEY,
  openStream,
  PUBLISH_KEY,
  publish,
  type Service,
  startService,
  tokenOf
} from './harness.ts'

interface Line {
  readonly level: number
  readonly msg: string
  readonly code?: string
  readonly ageMs?: number
  readonly [field: string]: unknown
}

const linesOf = (service: Service): Line[] =>
  service
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Line)
const told = (service: Service, msg: string | RegExp) =>
  linesOf(service).filter((line) =>
    typeof msg === 'string' ? line.msg === msg : msg.test(line.msg)
  )

test('the log records opened, closed and accepted, each with its request id', async (t) => {
  const service = await startService(t, { env: { DRAIN_MS: '100' } })
  const ann = await openStream(t, `${service.url}/v1/stream`, {
    token: tokenOf('ann', ['news']),
    headers: { 'x-request-id': 'from-the-edge.1' }
  })
  t.equal(ann.headers['x-request-id'], 'from-the-edge.1')
  const { data: ready } = await ann.until(({ event }) => event === 'ready')
  await eventually(() => told(service, 'connection opened').length === 1)
  t.match(told(service, 'connection opened')[0], {
    level: 30,
    connection: ready.connection,
    requestId: 'from-the-edge.1',
    user: 'ann',
    transport: 'sse',
    remoteAddress: '127.0.0.1'
  })

  const sent = []
  for (let n = 0; n < 20; n++)
    sent.push(
      await publish(
        service,
        { to: { topic: 'news' }, title: `t${n}` },
        { 'x-request-id': `publish-${n}` }
      )
    )
  t.equal(sent[3]!.headers.get('x-request-id'), 'publish-3')
  t.match(told(service, 'publish accepted'), [
    { producer: 'tests', requestId: 'publish-0', id: sent[0]!.body.id, count: 1 }
  ])
  t.equal(told(service, 'publish accepted').length, 1, 'one line a minute and producer')
  await ann.until((frame) => frame.data.item?.title === 't19')
  ann.close()
  await eventually(() => told(service, 'connection closed').length === 1)
  const [closed] = told(service, 'connection closed')
  t.match(closed, {
    level: 30,
    connection: ready.connection,
    user: 'ann',
    reason: 'gone',
    frames: 21
  })
  const { ageMs = -1 } = closed!
  t.ok(ageMs >= 0 && ageMs < 60_000)

  const odd = await call('GET', `${service.url}/healthz`, {
    headers: { 'x-request-id': 'not one "id"' }
  })
  t.match(odd.headers.get('x-request-id'), /^[\w-]+$/)

  t.equal(await service.kill('SIGTERM'), 0)
  t.match(
    told(service, 'publish accepted')[1],
    { count: 19, requestId: 'publish-19' },
    'the rest is told at the latest at the end'
  )
})

test('a repeated error is logged once a minute per code, with a count', async (t) => {
  const service = await startService(t, {
    env: { DRAIN_MS: '100', AUTH_SESSION_URL: `http://127.0.0.1:${await freePort()}/` }
  })
  for (let n = 0; n < 30; n++) {
    const { status } = await call('GET', `${service.url}/v1/inbox`, {
      headers: { cookie: `session=${n}`, 'x-request-id': `inbox-${n}` }
    })
    t.equal(status, 503)
    await publish(service, { to: { nobody: true } })
  }
  const unavailable = () => linesOf(service).filter(({ code }) => code === 'unavailable')
  t.match(unavailable(), [
    { level: 40, count: 1, requestId: 'inbox-0', route: 'GET /v1/inbox', msg: /^error: / }
  ])
  t.equal(unavailable().length, 1)
  t.match(told(service, 'request refused'), [
    { level: 30, code: 'validation', count: 1, route: 'POST /v1/notifications' }
  ])
  await service.kill('SIGTERM')
  t.match(unavailable()[1], { count: 29, requestId: 'inbox-29' })
  t.equal(unavailable().length, 2)
  t.match(told(service, 'request refused')[1], { code: 'validation', count: 29 })
})

test('no log line at any level holds a credential, a query string or notification content', async (t) => {
  const service = await startService(t, {
    env: {
      LOG_LEVEL: 'trace',
      DRAIN_MS: '100',
      COOKIE_SECRET: 'cookie-secret-cookie-secret-cookie-secret',
      AUTH_SESSION_URL: `http://127.0.0.1:${await freePort()}/?key=in-the-address`,
      ALERT_WEBHOOK_URL: `http://127.0.0.1:${await freePort()}/?key=in-the-hook`,
      ALERT_WEBHOOK_SECRET: 'signs-the-alerts',
      MAX_CONNECTIONS: '1'
    }
  })
  const token = tokenOf('ann')
  const { body } = await call('POST', `${service.url}/v1/tickets`, {
    key: PUBLISH_KEY,
    body: { user: 'ann' }
  })
  const stream = await openStream(t, `${service.url}/v1/stream?ticket=${body.ticket}`)
  await stream.until(({ event }) => event === 'ready')
  // The limit is reached, which raises an alert that no webhook receives.
  await eventually(() => linesOf(service).some(({ code }) => code === 'alert'))
  await publish(
    service,
    { to: { user: 'ann' }, title: 'what-it-says', data: { x: 'what-it-holds' } },
    { 'idempotency-key': 'idem-key' }
  )
  await stream.until(({ event }) => event === 'notification')
  await call('GET', `${service.url}/v1/inbox?x=in-the-query`, { key: token })
  await call('GET', `${service.url}/v1/inbox`, { headers: { cookie: 'session=cookie-value' } })
  await call('GET', `${service.url}/v1/inbox`, { key: 'wrong-token' })
  await call('POST', `${service.url}/v1/notifications`, {
    key: PUBLISH_KEY,
    body: '{"title":"half of what-it-says'
  })
  await call('GET', `${service.url}/monitor`, { key: 'wrong-key' })
  t.ok((await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })).status === 200)
  stream.close()
  await eventually(async () => (await connectionsOf(service)).active === 0)
  await service.kill('SIGTERM')
  const output = service.output()
  t.match(output, 'connection closed')
  for (const secret of [
    token,
    body.ticket,
    PUBLISH_KEY,
    MONITOR_KEY,
    SECRET,
    'cookie-secret',
    'signs-the-alerts',
    'in-the-address',
    'in-the-hook',
    'in-the-query',
    'what-it-',
    'idem-key',
    'cookie-value',
    'wrong-token',
    'wrong-key'
  ])
    t.notOk(output.includes(secret), secret)
})
