import { execFileSync } from 'node:child_process'
import path from 'node:path'
import t, { type Test } from 'tap'
import { shardOf } from '../../src/stores/redis/sharding.ts'
import { eventually } from '../fixtures/eventually.ts'
import { freePort } from '../fixtures/free-port.ts'
import { type Teardown, tempDir } from '../fixtures/temp-dir.ts'
import {
  type RedisServer,
  type RedisServerOptions,
  skipOwnServer,
  startRedis
} from '../stores/redis-server.ts'
import {
  call,
  MONITOR_KEY,
  openStream,
  PUBLISH_KEY,
  publish,
  type Service,
  startService,
  tokenOf
} from './harness.ts'

/** Nodes on one Redis, as behind a load balancer. */
async function startNodes(
  t: Test,
  redis: RedisServer,
  n: number,
  env: Record<string, string> = {}
): Promise<Service[]> {
  const all = { STORE: 'redis', REDIS_URL: redis.url, ...env }
  return Promise.all(Array.from({ length: n }, () => startService(t, { env: all })))
}

const start = async (
  t: Test,
  n: number,
  options: RedisServerOptions = {},
  env: Record<string, string> = {}
) => {
  const redis = await startRedis(t, options)
  const [one, two] = await startNodes(t, redis, n, env)
  return { redis, one: one!, two: two! }
}

/** A user who belongs to the given shard of three. */
const userOf = (shard: number): string =>
  Array.from({ length: 99 }, (_, n) => `u${n}`).find((user) => shardOf(user, 3) === shard)!

const isReady = async (node: Service): Promise<boolean> =>
  (await fetch(`${node.url}/readyz`)).status === 200
const monitor = async (node: Service) =>
  (await call('GET', `${node.url}/monitor`, { key: MONITOR_KEY })).body

for (const shards of [1, 3]) {
  t.test(`two nodes behave as one (REDIS_SHARDS=${shards})`, { skip: skipOwnServer }, async (t) => {
    const { one, two } = await start(t, 2, {}, { REDIS_SHARDS: String(shards) })
    const token = tokenOf('ann', ['news'])
    const stream = await openStream(t, `${two.url}/v1/stream`, { token })
    const ready = await stream.until((f) => f.event === 'ready')

    const first = await publish(one, { to: { user: 'ann' }, title: 'first' })
    t.equal(first.status, 201)
    const created = await stream.until((f) => f.event === 'notification')
    t.match(created.data, {
      item: { id: first.body.id, title: 'first' },
      counts: { unread: 1, unseen: 1 }
    })
    await publish(two, { to: { topic: 'news' }, title: 'second' })
    await stream.until((f) => f.data.item?.title === 'second')

    // Marks and counts agree on both nodes.
    const read = await call('POST', `${one.url}/v1/inbox/read`, {
      key: token,
      body: { upTo: created.id }
    })
    t.match(read.body, { affected: 1, counts: { unread: 1, unseen: 1 } })
    t.match((await stream.until((f) => f.event === 'state')).data, {
      op: 'read',
      upTo: created.id,
      counts: { unread: 1, unseen: 1 }
    })
    t.same((await call('GET', `${two.url}/v1/inbox/counts`, { key: token })).body, {
      unread: 1,
      unseen: 1
    })

    // A cursor of one node works on the other.
    stream.close()
    const third = await publish(two, { to: { everyone: true }, title: 'third' })
    for (const node of [one, two]) {
      const resumed = await openStream(t, `${node.url}/v1/stream?since=${ready.id}`, { token })
      await resumed.until((f) => f.data.item?.title === 'third')
      t.same(
        resumed.frames
          .filter((f) => f.event !== 'heartbeat')
          .map((f) => f.data.item?.title ?? f.event),
        ['ready', 'first', 'second', 'state', 'third']
      )
      resumed.close()
    }

    // Recall and erase take effect on both nodes.
    const last = await openStream(t, `${one.url}/v1/stream`, { token })
    await last.until((f) => f.event === 'ready')
    t.equal(
      (await call('DELETE', `${two.url}/v1/notifications/${third.body.id}`, { key: PUBLISH_KEY }))
        .status,
      204
    )
    t.match((await last.until((f) => f.data.op === 'removed')).data, { ids: [third.body.id] })
    t.equal(
      (await call('DELETE', `${one.url}/v1/notifications/${third.body.id}`, { key: PUBLISH_KEY }))
        .status,
      404
    )
    t.equal((await call('DELETE', `${two.url}/v1/users/ann`, { key: PUBLISH_KEY })).status, 204)
    await last.until((f) => f.data.op === 'removed' && f.data.ids === null)

    // The same idempotency key on both nodes at the same time.
    const twice = await Promise.all(
      Array.from({ length: 10 }, (_, n) =>
        publish(
          n % 2 ? one : two,
          { to: { user: 'ann' }, title: 'once' },
          { 'idempotency-key': 'k' }
        )
      )
    )
    t.equal(new Set(twice.map(({ body }) => body.id)).size, 1)
    t.equal(twice.filter(({ headers }) => headers.get('idempotent-replayed') === 'true').length, 9)
    t.equal(
      (await publish(one, { to: { user: 'ann' }, title: 'other' }, { 'idempotency-key': 'k' }))
        .status,
      422
    )
    await last.until((f) => f.data.item?.title === 'once')
    t.equal(last.frames.filter((f) => f.data.item?.title === 'once').length, 1)

    // A ticket works once across all nodes; a revocation ends the streams on all nodes.
    const ticket = (
      await call('POST', `${one.url}/v1/tickets`, { key: PUBLISH_KEY, body: { user: 'ann' } })
    ).body.ticket
    const tickets = await Promise.all(
      [one, two].map((node) => fetch(`${node.url}/v1/stream?ticket=${ticket}`))
    )
    t.same(tickets.map(({ status }) => status).sort(), [200, 401])
    for (const { body } of tickets) await body?.cancel()
    const other = await openStream(t, `${two.url}/v1/stream`, { token })
    await other.until((f) => f.event === 'ready')
    const asked = performance.now()
    t.equal(
      (await call('DELETE', `${one.url}/v1/users/ann/connections`, { key: PUBLISH_KEY })).status,
      200
    )
    await other.until((f) => f.event === 'goodbye' && f.data.reason === 'revoked')
    t.ok(
      performance.now() - asked < 3000,
      'within a second, on a machine that has time for two nodes'
    )
    t.equal(
      (await fetch(`${two.url}/v1/inbox`, { headers: { authorization: `Bearer ${token}` } }))
        .status,
      401
    )

    const { store } = await monitor(two)
    t.match(store, { kind: 'redis', healthy: true, epoch: (await monitor(one)).store.epoch })
    t.equal(store.shards?.length ?? 1, shards)
    t.ok(store.bytes > 0)
  })
}

/** Makes a key and a certificate that no authority has signed, for `name`, such as `DNS:localhost`. */
function selfSigned(t: Teardown, name: string): { readonly key: string; readonly cert: string } {
  const dir = tempDir(t)
  const [key, cert] = [path.join(dir, 'key.pem'), path.join(dir, 'cert.pem')]
  const request = 'req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost'.split(' ')
  const files = ['-addext', `subjectAltName=${name}`, '-keyout', key, '-out', cert]
  execFileSync('openssl', [...request, ...files], { stdio: 'pipe' })
  return { key, cert }
}

t.test(
  'a delivery report judges each user by their own position in the log',
  { skip: skipOwnServer },
  async (t) => {
    const { one } = await start(t, 1, {}, { REDIS_SHARDS: '3' })
    for (let n = 0; n < 5; n++)
      await publish(one, { to: { user: userOf(0) }, title: 'the first shard is longer' })
    const streams = [0, 1, 2].map((shard) =>
      openStream(t, `${one.url}/v1/stream`, { token: tokenOf(userOf(shard), ['news']) })
    )
    for (const stream of streams) await (await stream).until((f) => f.event === 'ready')
    const { id } = (await publish(one, { to: { topic: 'news' }, title: 'in each' })).body
    for (const stream of streams) await (await stream).until((f) => f.data.item?.id === id)
    for (const shard of [0, 1, 2]) {
      const trace = await call(
        'GET',
        `${one.url}/monitor/notifications/${id}?user=${userOf(shard)}`,
        { key: MONITOR_KEY }
      )
      t.match(trace.body, {
        channelCount: 3,
        written: { connections: 3 },
        user: { verdict: 'written' }
      })
    }
  }
)

t.test(
  'while Redis is down the process keeps serving, reports it, never hangs, and recovers',
  { skip: skipOwnServer },
  async (t) => {
    const redis = await startRedis(t)
    await redis.kill()
    const [node] = await startNodes(t, redis, 1, { HEARTBEAT_MS: '300', DRAIN_MS: '500' })
    if (!node) throw new Error('no node')
    t.match(
      node.output(),
      /"code":"store"[^\n]*ECONNREFUSED.*"msg":"listening"/s,
      'trouble of the opening is a line before it listens'
    )
    t.equal((await fetch(`${node.url}/healthz`)).status, 200)
    const unready = await fetch(`${node.url}/readyz`)
    t.equal(unready.status, 503)
    t.match(
      await unready.json(),
      { reason: /connection to Redis/ },
      'in our words, not in those of the library'
    )
    const refused = await openStream(t, `${node.url}/v1/stream`, { token: tokenOf('ann') })
    t.equal(refused.status, 200)
    t.equal((await refused.until((f) => f.event === 'goodbye')).data.reason, 'unavailable')
    await refused.ended

    const withinTime = async (): Promise<void> => {
      const asked = performance.now()
      const answer = await publish(node, { to: { user: 'ann' }, title: 'lost' })
      t.equal(answer.status, 503)
      t.ok(Number(answer.headers.get('retry-after')) > 0)
      t.ok(performance.now() - asked < 6000, `${Math.round(performance.now() - asked)} ms`)
    }
    await withinTime()
    await redis.start()
    await eventually(() => isReady(node), 15_000)

    // Again with an open stream: first Redis is killed, then frozen.
    const stream = await openStream(t, `${node.url}/v1/stream`, { token: tokenOf('ann') })
    await stream.until((f) => f.event === 'ready')
    await publish(node, { to: { user: 'ann' }, title: 'before' })
    await stream.until((f) => f.data.item?.title === 'before')
    for (const [stop, go] of [
      [() => redis.kill(), () => redis.start()],
      [async () => redis.freeze(), async () => redis.thaw()]
    ] as const) {
      await stop()
      await withinTime()
      await eventually(async () => !(await isReady(node)), 15_000)
      const from = stream.frames.length
      await stream.until((f) => f.event === 'heartbeat', from)
      t.match((await monitor(node)).recommendations[0], {
        code: 'store-failing',
        severity: 'critical'
      })
      await go()
      const back = performance.now()
      await eventually(
        async () =>
          (await publish(node, { to: { user: 'ann' }, title: `after ${from}` })).status === 201,
        15_000
      )
      await stream.until((f) => f.data.item?.title === `after ${from}`)
      t.ok(
        performance.now() - back < 15_000,
        `caught up ${Math.round(performance.now() - back)} ms after its return`
      )
      t.notOk(stream.frames.some((f) => f.event === 'reset' || f.event === 'goodbye'))
    }
    await redis.kill()
    const asked = performance.now()
    t.equal(await node.kill('SIGTERM'), 0)
    t.ok(performance.now() - asked < 10_000, 'it also ends in time without Redis')
  }
)

t.test(
  'after Redis is flushed every stream and poll gets a reset and continues',
  { skip: skipOwnServer },
  async (t) => {
    const { redis, one, two } = await start(t, 2)
    const token = tokenOf('ann', ['news'])
    const stream = await openStream(t, `${two.url}/v1/stream`, { token })
    const ready = await stream.until((f) => f.event === 'ready')
    await publish(one, { to: { user: 'ann' }, title: 'gone' })
    const gone = await stream.until((f) => f.data.item?.title === 'gone')
    const poll = call('GET', `${one.url}/v1/changes?since=${gone.id}&wait=20`, { key: token })
    // Before it waits it reads; a flush at that moment is a 503, which the client retries.
    const list = async () =>
      (await call('GET', `${one.url}/monitor/connections`, { key: MONITOR_KEY })).body.connections
    const waits = ({ transport, state }: Record<string, string>): boolean =>
      transport === 'poll' && state === 'live'
    await eventually(async () => (await list()).some(waits))
    await redis.say('FLUSHALL')
    const reset = await stream.until((f) => f.event === 'reset')
    t.match(reset.data, {
      reason: 'store_changed',
      items: [],
      counts: { unread: 0, unseen: 0 },
      user: 'ann'
    })
    t.match((await poll).body, {
      events: [{ event: 'reset', data: { reason: 'store_changed', items: [] } }]
    })
    t.not(reset.id?.split('-')[0], ready.id?.split('-')[0])
    await publish(one, { to: { topic: 'news' }, title: 'new' })
    const fresh = await stream.until((f) => f.data.item?.title === 'new')
    const old = await openStream(t, `${one.url}/v1/stream?since=${gone.id}`, { token })
    t.match((await old.until((f) => f.event === 'reset')).data, {
      reason: 'store_changed',
      items: [{ title: 'new' }]
    })
    const resumed = await openStream(t, `${one.url}/v1/stream?since=${fresh.id}`, { token })
    t.equal((await resumed.until((f) => f.event === 'ready')).data.resumed, true)
  }
)

t.test(
  'TLS to Redis accepts a trusted certificate and reports an untrusted one',
  { skip: skipOwnServer },
  async (t) => {
    const { key, cert } = selfSigned(t, 'IP:127.0.0.1')
    const port = await freePort()
    const tls = [
      '--tls-port',
      String(port),
      '--tls-cert-file',
      cert,
      '--tls-key-file',
      key,
      '--tls-auth-clients',
      'no'
    ]
    await startRedis(t, { args: tls })
    const env = { STORE: 'redis', REDIS_URL: `rediss://127.0.0.1:${port}` }
    const [trusting, doubting] = await Promise.all([
      startService(t, { env: { ...env, NODE_EXTRA_CA_CERTS: cert } }),
      startService(t, { env })
    ])
    t.equal((await publish(trusting, { to: { user: 'ann' }, title: 'over TLS' })).status, 201)
    t.ok(await isReady(trusting))
    t.notOk(await isReady(doubting))
    await eventually(() => /self-signed certificate/.test(doubting.output()))
  }
)

t.test(
  'a Redis Cluster over TLS with host-name certificates is followed by host name',
  { skip: skipOwnServer },
  async (t) => {
    const { key, cert } = selfSigned(t, 'DNS:localhost')
    const [port, bus] = [await freePort(), await freePort()]
    const tls = [
      '--tls-port',
      String(port),
      '--tls-cert-file',
      cert,
      '--tls-key-file',
      key,
      '--tls-ca-cert-file',
      cert
    ]
    const cluster = [
      '--cluster-enabled',
      'yes',
      '--tls-cluster',
      'yes',
      '--cluster-port',
      String(bus)
    ]
    const names = [
      '--cluster-announce-hostname',
      'localhost',
      '--cluster-preferred-endpoint-type',
      'hostname'
    ]
    const redis = await startRedis(t, {
      args: [...tls, '--tls-auth-clients', 'no', ...cluster, ...names]
    })
    await redis.say('CLUSTER ADDSLOTSRANGE 0 16383')
    await eventually(async () => (await redis.say('CLUSTER INFO')).includes('cluster_state:ok'))
    const env = { STORE: 'redis', REDIS_URL: `rediss://localhost:${port},localhost:${port}` }
    const [trusting, doubting] = await Promise.all([
      startService(t, { env: { ...env, NODE_EXTRA_CA_CERTS: cert } }),
      startService(t, { env })
    ])
    await eventually(() => isReady(trusting))
    t.equal((await publish(trusting, { to: { user: 'ann' }, title: 'over TLS' })).status, 201)
    t.notOk(await isReady(doubting))
    await eventually(() => /slots cache.*self-signed certificate/.test(doubting.output()))
  }
)

t.test(
  'published content reaches no log line, whatever Redis replies',
  { skip: skipOwnServer },
  async (t) => {
    const { redis, one } = await start(t, 1)
    await redis.say('SET bellwire:{bellwire}:e:user:ann x')
    const secret = {
      title: 'a-title-of-ann',
      body: 'a-body-of-ann',
      data: { a: 'some-data-of-ann' }
    }
    const { status, text } = await publish(
      one,
      { to: { user: 'ann' }, ...secret },
      { 'idempotency-key': 'a-key-of-ann' }
    )
    t.equal(status, 500)
    await eventually(() => /WRONGTYPE/.test(one.output()))
    for (const told of [text, one.output(), JSON.stringify(await monitor(one))])
      t.notMatch(told, /of-ann/)
    const line = one
      .output()
      .split('\n')
      .find((each) => each.includes('WRONGTYPE'))
    t.same(
      Object.keys(JSON.parse(line!).err).sort(),
      ['message', 'stack', 'type'],
      'nothing that a library hung on it'
    )
  }
)

t.test(
  'the Redis password is used and never logged or shown',
  { skip: skipOwnServer },
  async (t) => {
    const redis = await startRedis(t, { args: ['--requirepass', 'right-password'] })
    const nodeWith = async (password: string) =>
      (
        await startNodes(t, redis, 1, { REDIS_URL: `redis://:${password}@127.0.0.1:${redis.port}` })
      )[0]!
    const right = await nodeWith('right-password')
    await eventually(() => isReady(right))
    t.equal((await publish(right, { to: { user: 'ann' } })).status, 201)

    const wrong = await nodeWith('wrong-password')
    const refused = await publish(wrong, { to: { user: 'ann' } })
    t.equal(refused.status, 503)
    const readiness = await (await fetch(`${wrong.url}/readyz`)).text()
    const told = refused.text + readiness + JSON.stringify(await monitor(wrong)) + wrong.output()
    t.match(told, /WRONGPASS|invalid password/i, 'why it does not work is told')
    for (const text of [told, right.output(), JSON.stringify(await monitor(right))])
      t.notMatch(text, /(?:right|wrong)-password/)
  }
)

t.test(
  'a missing Redis permission makes the node unready even if some shards work',
  { skip: skipOwnServer },
  async (t) => {
    const redis = await startRedis(t)
    // Two shards need other keys, or another channel, than the first.
    const least = 'on >pw &bellwire:* +@all -@admin -@dangerous +info'
    for (const [user, rights, lacking] of [
      ['keys', `${least} ~bellwire:{bellwire}:* ~bellwire:{nodes}:*`, /NOPERM/],
      [
        'channels',
        `${least} ~bellwire:* resetchannels &bellwire:{bellwire}:* &bellwire:{nodes}:*`,
        /channel permission: &bellwire:\*/
      ]
    ] as const) {
      await redis.say(`ACL SETUSER ${user} ${rights}`)
      const env = { REDIS_URL: `redis://${user}:pw@127.0.0.1:${redis.port}`, REDIS_SHARDS: '3' }
      const [node] = (await startNodes(t, redis, 1, env)) as [Service]
      const { status, body } = await call('GET', `${node.url}/readyz`, {})
      t.match({ status, reason: body.reason }, { status: 503, reason: lacking }, user)
      const seen = await monitor(node)
      t.match(seen.store, { healthy: false, shards: [{ healthy: true }, {}, {}] })
      t.match(seen.recommendations, [{ code: 'store-failing', message: lacking }])
      t.match(node.output(), lacking)
      const stream = await openStream(t, `${node.url}/v1/stream`, { token: tokenOf(userOf(0)) })
      await stream.until((f) => f.event === 'ready')
    }
  }
)

t.test(
  'Redis killed under load and restarted with its file loses no acknowledged event and repeats none',
  {
    skip: skipOwnServer
  },
  async (t) => {
    const { redis, one, two } = await start(t, 2)
    const token = tokenOf('ann')
    const streams = await Promise.all(
      [one, two].map((node) => openStream(t, `${node.url}/v1/stream`, { token }))
    )
    const [ready] = await Promise.all(
      streams.map((stream) => stream.until((f) => f.event === 'ready'))
    )
    const { epoch } = (await monitor(one)).store
    const acknowledged: string[] = []
    let refused = 0
    let stopped = false
    const produce = async (node: Service, who: number): Promise<void> => {
      for (let n = 0; !stopped; n++) {
        // Like a producer: repeat with the same key until it is accepted.
        for (;;) {
          const answer = await publish(
            node,
            { to: { user: 'ann' }, data: { n } },
            { 'idempotency-key': `${who}-${n}` }
          )
          if (answer.status === 201) {
            acknowledged.push(answer.body.id)
            break
          }
          refused++
          if (stopped) return
          await new Promise((resolve) => setTimeout(resolve, 50))
        }
      }
    }
    const producers = Array.from({ length: 8 }, (_, who) => produce(who % 2 ? one : two, who))
    for (let round = 0; round < 2; round++) {
      const before = acknowledged.length
      await eventually(() => acknowledged.length > before + 80)
      await redis.kill()
      await redis.start()
      await eventually(() => acknowledged.length > before + 160)
    }
    stopped = true
    await Promise.all(producers)
    const wanted = new Set(acknowledged)
    const idsOf = (stream: { frames: { event: string; data: { item?: { id: string } } }[] }) =>
      stream.frames.filter((f) => f.event === 'notification').map((f) => f.data.item!.id)
    for (const stream of streams) {
      await eventually(() => new Set(idsOf(stream)).size >= wanted.size)
      const got = idsOf(stream)
      t.equal(new Set(got).size, got.length, 'nothing twice')
      t.same(
        acknowledged.filter((id) => !got.includes(id)),
        [],
        `all of ${acknowledged.length}, ${refused} refused meanwhile`
      )
      t.notOk(stream.frames.some((f) => f.event === 'reset'))
    }
    t.same(idsOf(streams[0]!), idsOf(streams[1]!), 'in one order')
    t.equal(
      (await monitor(two)).store.epoch,
      epoch,
      'a restart that kept everything is no new life'
    )
    const again = await openStream(t, `${two.url}/v1/stream?since=${ready!.id}`, { token })
    await eventually(() => idsOf(again).length >= wanted.size)
    t.same(idsOf(again), idsOf(streams[0]!), 'and the same when it is read again')
  }
)
