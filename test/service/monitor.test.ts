import { spawnSync } from 'node:child_process'
import { test } from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import { freePort } from '../fixtures/free-port.ts'
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

const monitor = async (service: Service) =>
  (await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })).body
const listed = async (service: Service, query = '') =>
  (await call('GET', `${service.url}/monitor/connections${query}`, { key: MONITOR_KEY })).body

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const CURSOR = /^[A-Za-z0-9._-]{1,64}$/
const SPREAD = { p50: Number, p99: Number, max: Number }
/** Every documented field of /monitor with its type. */
const SHAPE = {
  service: 'bellwire',
  version: /^\d+\.\d+\.\d+/,
  node: /./,
  status: /^(ok|degraded|critical)$/,
  uptimeSeconds: Number,
  connections: {
    active: Number,
    peak: Number,
    opened: Number,
    closed: {},
    refused: {},
    users: Number,
    byTransport: { sse: Number, websocket: Number, poll: Number },
    stale: Number,
    slow: Number,
    bufferedBytes: Number
  },
  heartbeats: { intervalMs: 15_000, sent: Number, skipped: Number, lagMs: Number },
  publish: {
    accepted: Number,
    replayed: Number,
    rejected: Number,
    rejectedBy: {},
    perSecond: Number
  },
  deliveries: { frames: Number, perSecond: Number, replayed: Number, resets: Number },
  latencyMs: { publishToWrite: SPREAD, publishAck: SPREAD, commit: SPREAD },
  errors: { total: Number, perMinute: Number, byCode: {}, recent: Array },
  store: {
    kind: 'sqlite',
    healthy: true,
    epoch: /./,
    head: CURSOR,
    oldest: CURSOR,
    bytes: Number,
    commitMs: Number
  },
  process: { rssBytes: Number, heapBytes: Number, cpu: Number, eventLoopLagMs: Number },
  limits: { maxConnections: Number, maxConnectionsPerUser: 20, maxBufferedBytes: 1_048_576 },
  nodes: [{ node: /./, status: /./, connections: Number, lastSeenAt: ISO }],
  recommendations: Array,
  history: Array
}

test('/monitor has every documented field, and an hour of history in ten-second steps', async (t) => {
  const service = await startService(t, {
    env: { AUTH_SESSION_URL: `http://127.0.0.1:${await freePort()}/` }
  })
  const startedAt = Date.now()
  const ann = await openStream(t, `${service.url}/v1/stream`, { token: tokenOf('ann', ['news']) })
  await ann.until((frame) => frame.event === 'ready')
  const { body: sent } = await publish(service, { to: { topic: 'news' }, title: 'A secret title' })
  await ann.until((frame) => frame.data.item?.id === sent.id)
  await call('GET', `${service.url}/v1/inbox`, { headers: { cookie: 'session=a-secret-cookie' } })
  await publish(service, { to: { topic: 'news' }, level: 'no such level' })

  const answer = await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })
  t.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8')
  t.equal(answer.headers.get('cache-control'), 'no-store')
  t.match(answer.body, SHAPE)
  t.match(answer.body, {
    connections: {
      active: 1,
      peak: 1,
      opened: 1,
      users: 1,
      byTransport: { sse: 1, websocket: 0, poll: 0 }
    },
    publish: { accepted: 1, rejected: 1, rejectedBy: { validation: 1 } },
    deliveries: { frames: 2 },
    nodes: [{ node: answer.body.node, connections: 1 }]
  })
  for (const spread of Object.values<Record<string, number>>(answer.body.latencyMs))
    t.ok(spread['p50']! > 0 && spread['p50']! <= spread['p99']! && spread['p99']! <= spread['max']!)
  const { count, firstAt, lastAt, lastMessage } = answer.body.errors.byCode.unavailable
  t.equal(count, 1)
  for (const instant of [firstAt, lastAt]) t.match(instant, ISO)
  t.match(lastMessage, /./)
  t.match(answer.body.errors.recent.at(-1), { at: ISO, code: 'unavailable', message: lastMessage })
  t.equal(answer.body.errors.total, answer.body.errors.recent.length)
  t.notMatch(answer.text, /secret/, 'no content, no credential')

  // Operators look first for a producer whose requests are refused.
  const broken = { to: { user: 'ann' }, type: 'no type' }
  await call('POST', `${service.url}/v1/notifications/batch`, {
    key: PUBLISH_KEY,
    body: { notifications: Array.from({ length: 10 }, () => broken) }
  })
  await publish(service, { to: { user: 'ann' }, data: { long: 'x'.repeat(20_000) } })
  await call('POST', `${service.url}/v1/notifications`, { key: 'nobody-s-key', body: broken })
  await eventually(async () => (await monitor(service)).status === 'degraded')
  t.match(await monitor(service), {
    publish: {
      rejected: 13,
      rejectedBy: { validation: 11, 'payload-too-large': 1, unauthenticated: 1 }
    },
    recommendations: [
      {
        code: 'rejected-publishes',
        severity: 'warning',
        message:
          '12 of 13 publishes were refused in the last minute, most of them from the producer tests, most often for validation.'
      }
    ]
  })

  await eventually(async () => (await monitor(service)).history.length > 0)
  const { history } = await monitor(service)
  t.match(history[0], { at: ISO, active: 1, published: 1, errors: answer.body.errors.total })
  t.ok(
    [2, 3].includes(history[0].frames),
    'ready, the notification, and the first heartbeat if it came already'
  )
  const after = Date.parse(history[0].at) - startedAt
  t.ok(after > 8000 && after < 19_000, `the first step was over after ${after} ms`)
})

test('/monitor serves a page to browsers, JSON to programs, and 401 without a key', async (t) => {
  const service = await startService(t, { env: { STORE: 'memory' } })
  const typeFor = async (accept: string): Promise<string | null> => {
    const answer = await call('GET', `${service.url}/monitor`, {
      key: MONITOR_KEY,
      headers: { accept }
    })
    t.match(answer.headers.get('vary'), /\baccept\b/i)
    return answer.headers.get('content-type')
  }
  const browser = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'
  t.equal(await typeFor(browser), 'text/html; charset=utf-8')
  for (const accept of [
    '*/*',
    'application/json',
    'application/json, text/html;q=0.5',
    'text/event-stream'
  ])
    t.equal(await typeFor(accept), 'application/json; charset=utf-8', accept)
  for (const [method, path] of [
    ['GET', '/monitor'],
    ['GET', '/monitor/connections'],
    ['GET', '/monitor/stream'],
    ['GET', '/monitor/notifications/x'],
    ['DELETE', '/monitor/connections/x']
  ] as const) {
    for (const key of [undefined, PUBLISH_KEY, tokenOf('ann'), ''])
      t.equal(
        (await call(method, `${service.url}${path}`, key === undefined ? {} : { key })).status,
        401,
        `${method} ${path}`
      )
  }
  const told = async (path: string, authorization: string): Promise<string> =>
    (
      await call(path === '/monitor' ? 'GET' : 'POST', `${service.url}${path}`, {
        headers: { authorization }
      })
    ).body.detail
  for (const [path, setting, own] of [
    ['/monitor', 'MONITOR_KEYS', MONITOR_KEY],
    ['/v1/notifications', 'PUBLISH_KEYS', PUBLISH_KEY]
  ] as const) {
    t.match(await told(path, 'Bearer wrong'), `The key sent is not one of ${setting}. Send a`)
    t.match(await told(path, own), /^`Bearer ` is missing before the key\./)
    t.match(await told(path, 'Bearer'), `The key sent is not one of ${setting}.`)
  }
  const basic = `Basic ${Buffer.from(`:${MONITOR_KEY}`).toString('base64')}`
  t.equal(
    (await call('GET', `${service.url}/monitor`, { headers: { authorization: basic } })).status,
    200
  )
})

test('/monitor/connections lists, filters, sorts and closes connections', async (t) => {
  const service = await startService(t, { env: { STORE: 'memory', MAX_CONNECTIONS_PER_USER: '2' } })
  const open = async (user: string) => {
    const stream = await openStream(t, `${service.url}/v1/stream`, {
      token: tokenOf(user, ['news'])
    })
    const { data } = await stream.until(({ event }) => event === 'ready' || event === 'goodbye')
    return { stream, id: data.connection as string, refused: data.reason as string | undefined }
  }
  const first = await open('ann')
  const second = await open('bob')
  await open('ann')
  t.equal((await open('ann')).refused, 'limit')
  const poll = call(
    'GET',
    `${service.url}/v1/changes?wait=20&since=${(await listed(service)).connections[0].cursor}`,
    {
      key: tokenOf('carl')
    }
  )
  await eventually(async () => (await connectionsOf(service)).byTransport.poll === 1)

  const all = await listed(service)
  t.equal(all.total, 4)
  t.strictSame(
    all.connections.map(({ user }: { user: string }) => user),
    ['ann', 'bob', 'ann', 'carl'],
    'the oldest first'
  )
  t.match(all.connections[0], {
    id: first.id,
    user: 'ann',
    transport: 'sse',
    topics: ['news'],
    openedAt: ISO,
    ageMs: Number,
    cursor: CURSOR,
    bufferedBytes: 0,
    frames: 1,
    remoteAddress: '127.0.0.1',
    state: 'live'
  })
  t.match(await listed(service, '?user=ann&limit=1'), { connections: { length: 1 }, total: 2 })
  t.match(await listed(service, '?user=nobody'), { connections: [], total: 0 })
  for (const query of ['?limit=0', '?limit=x', '?sort=name'])
    t.equal(
      (await call('GET', `${service.url}/monitor/connections${query}`, { key: MONITOR_KEY }))
        .status,
      422
    )

  const close = (id: string) =>
    call('DELETE', `${service.url}/monitor/connections/${id}`, { key: MONITOR_KEY })
  t.equal((await close(second.id)).status, 204)
  t.match((await second.stream.until(({ event }) => event === 'goodbye')).data, {
    reason: 'closed',
    retryMs: Number
  })
  t.equal((await close(second.id)).status, 404)
  t.equal((await close('no-such')).status, 404)
  first.stream.close()
  await eventually(async () => (await connectionsOf(service)).closed.gone === 1)
  t.match(await connectionsOf(service), {
    opened: 4,
    peak: 4,
    closed: { closed: 1, gone: 1 },
    refused: { limit: 1 },
    active: 2
  })
  await publish(service, { to: { user: 'carl' } })
  await poll
})

test('a client that does not read is listed first as slow, then closed', async (t) => {
  const service = await startService(t, {
    env: { STORE: 'memory', STALL_MS: '2000', MAX_BUFFERED_BYTES: '20000000' }
  })
  const reading = await openStream(t, `${service.url}/v1/stream`, {
    token: tokenOf('ann', ['news'])
  })
  const stuck = await openStream(t, `${service.url}/v1/stream`, { token: tokenOf('bob', ['news']) })
  await stuck.until(({ event }) => event === 'ready')
  stuck.pause()
  const notifications = Array.from({ length: 500 }, () => ({
    to: { topic: 'news' },
    type: 'big',
    body: 'x'.repeat(4000)
  }))
  while ((await connectionsOf(service)).slow === 0)
    await call('POST', `${service.url}/v1/notifications/batch`, {
      key: PUBLISH_KEY,
      body: { notifications }
    })
  for (const sort of ['state', 'bufferedBytes']) {
    const { connections } = await listed(service, `?sort=${sort}`)
    t.match(connections[0], { user: 'bob', state: 'blocked' }, sort)
    t.ok(connections[0].bufferedBytes > 0)
    t.match(connections[1], { user: 'ann' })
  }
  t.ok((await connectionsOf(service)).bufferedBytes > 0)
  await eventually(async () => (await connectionsOf(service)).closed.slow === 1)
  t.match(await connectionsOf(service), { active: 1, slow: 0 })
  reading.close()
})

test('reading /monitor changes no figure, and monitor streams are not counted as connections', async (t) => {
  const service = await startService(t, { env: { STORE: 'memory', HEARTBEAT_MS: '3600000' } })
  const ann = await openStream(t, `${service.url}/v1/stream`, { token: tokenOf('ann') })
  await ann.until(({ event }) => event === 'ready')
  // Rates are left out: they cover the seconds before.
  const steady = ({
    connections,
    publish,
    deliveries,
    errors,
    heartbeats,
    store
  }: Record<string, unknown>) => ({
    connections,
    publish: { ...(publish as object), perSecond: 0 },
    deliveries: { ...(deliveries as object), perSecond: 0 },
    errors,
    heartbeats: { ...(heartbeats as object), lagMs: 0 },
    store
  })
  const before = steady(await monitor(service))
  const watchers = await Promise.all(
    [1, 2, 3].map(() => openStream(t, `${service.url}/monitor/stream`, { token: MONITOR_KEY }))
  )
  const [watcher] = watchers
  t.equal(watcher!.headers['content-type'], 'text/event-stream; charset=utf-8')
  t.equal(watcher!.headers['x-accel-buffering'], 'no')
  await eventually(() => watchers.every(({ frames }) => frames.length >= 4))
  for (const { event, data } of watcher!.frames) {
    t.equal(event, 'stats')
    t.match(data, { service: 'bellwire', connections: { active: 1 } })
  }
  for (const path of [
    '/monitor/connections',
    '/metrics',
    '/healthz',
    '/readyz',
    '/monitor/notifications/nothing'
  ])
    await call('GET', `${service.url}${path}`, { key: MONITOR_KEY })
  t.strictSame(steady(await monitor(service)), before)

  const seconds = watcher!.frames.map(({ data }) => data.uptimeSeconds as number)
  t.ok(seconds.at(-1)! - seconds[1]! >= seconds.length - 3, `every second: ${seconds}`)
  await service.kill('SIGTERM')
  await watcher!.ended
})

const prlimit = spawnSync('prlimit', ['--version']).status === 0

test('a store that rejects writes turns health critical within seconds, with reason and action', {
  skip: prlimit ? false : 'prlimit not found: apt-get install util-linux'
}, async (t) => {
  const service = await startService(t, { under: ['prlimit', '--fsize=2000000'] })
  const data = { x: 'y'.repeat(15_000) }
  await eventually(
    async () => (await publish(service, { to: { user: 'ann' }, data })).status >= 500
  )
  await eventually(async () => {
    await publish(service, { to: { user: 'ann' }, data })
    return (await monitor(service)).status === 'critical'
  })
  const { recommendations, errors } = await monitor(service)
  t.match(recommendations[0], {
    code: 'store-failing',
    severity: 'critical',
    message: /^The store (failed|is not working)/,
    action: /disk/,
    since: ISO
  })
  const codes = Object.keys(errors.byCode)
  t.ok(
    codes.every((code) => code === 'unavailable' || code === 'store-full'),
    codes.join()
  )
})
