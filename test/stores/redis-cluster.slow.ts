import { Redis } from 'ioredis'
import { type Test, test } from 'tap'
import {
  ACQUIRE_SLOT_MS,
  LEASE_MS,
  MAX_ANSWER_BYTES,
  MAX_UNSURE_USERS
} from '../../src/bounds/limits.ts'
import type { LocalNode, NodeReport } from '../../src/cluster/cluster.ts'
import type { NodeAnswer, NodeQuery } from '../../src/cluster/node-query.ts'
import { RedisCluster } from '../../src/cluster/redis/redis-cluster.ts'
import type { ArchiveRecord } from '../../src/log/archive.ts'
import { RedisArchiveSource } from '../../src/stores/redis/archive-source.ts'
import { RedisArchiveTarget } from '../../src/stores/redis/archive-target.ts'
import { eventually } from '../fixtures/eventually.ts'
import { startRedisCluster } from './redis-masters.ts'
import { redisUrl, skipOwnServer, skipRedis, startRedis } from './redis-server.ts'

const report = (connections: number): NodeReport => ({
  version: '1',
  status: 'ok',
  recommendations: [],
  draining: false,
  uptimeSeconds: 1,
  connections,
  users: 0,
  stale: 0,
  slow: 0,
  publishedPerSecond: 0,
  framesPerSecond: 0,
  errorsPerMinute: 0,
  eventLoopLagMs: 0,
  rssBytes: 0
})

/** A node with the connections that the test gives it. */
class TestNode implements LocalNode {
  readonly users = new Map<string, number>()
  readonly asked: NodeQuery[] = []
  total = 0
  list: NodeAnswer<'list-connections'> = { rows: [], total: 0 }
  report = (): NodeReport => report(this.total)
  slots = () => this.users.entries()
  slotsOf = (user: string): number => this.users.get(user) ?? 0
  answer<K extends NodeQuery['kind']>(question: Extract<NodeQuery, { kind: K }>): NodeAnswer<K> {
    this.asked.push(question)
    if (question.kind === 'list-connections') return this.list as NodeAnswer<K>
    return ('user' in question ? this.slotsOf(String(question.user)) : false) as NodeAnswer<K>
  }
}

interface Joined {
  readonly name: string
  readonly cluster: RedisCluster
  readonly node: TestNode
  readonly troubles: string[]
  /** Opens one more connection of the user, as the hub would. */
  open(user: string): Promise<boolean>
  close(user: string): void
}

let drawn = 0
const freshPrefix = (): string => `test${process.pid}x${++drawn}`

async function join(t: Test, url: string, prefix: string, name: string, most = 3): Promise<Joined> {
  const node = new TestNode()
  const troubles: string[] = []
  const options = {
    redisUrl: url,
    redisPrefix: prefix,
    maxConnectionsPerUser: most,
    onTrouble: (what: string) => troubles.push(what)
  }
  const cluster = await RedisCluster.open(name, options)
  t.teardown(() => cluster.leave())
  cluster.join(node)
  const close = (user: string): void => {
    node.users.set(user, node.slotsOf(user) - 1)
    cluster.report(user, node.slotsOf(user))
  }
  return {
    name,
    cluster,
    node,
    troubles,
    async open(user) {
      node.users.set(user, node.slotsOf(user) + 1)
      const granted = await cluster.acquire(user, node.slotsOf(user))
      if (!granted) close(user)
      return granted
    },
    close
  }
}

/** Resolves when every node sees every other and answers. */
const met = (...nodes: Joined[]): Promise<void> =>
  eventually(async () => {
    for (const { cluster } of nodes) {
      if (cluster.nodes().length !== nodes.length) return false
      if ((await cluster.ask({ kind: 'count-user', user: 'nobody' })).length !== nodes.length)
        return false
    }
    return true
  })

test('an answer to another node is cut to a maximum size, and its total still counts all rows', {
  skip: skipRedis
}, async (t) => {
  const url = await redisUrl(t)
  const prefix = freshPrefix()
  const [a, b] = [await join(t, url, prefix, 'a'), await join(t, url, prefix, 'b')]
  const topics = Array.from({ length: 20 }, (_, n) => `${n}-`.padEnd(128, 'x'))
  const row = {
    transport: 'sse',
    openedAt: 1,
    cursor: null,
    bufferedBytes: 0,
    frames: 0,
    remoteAddress: '',
    state: 'live'
  } as const
  const rows = Array.from({ length: 5000 }, (_, n) => ({
    id: `b-${n}`,
    user: 'ann',
    topics,
    topicCount: 200,
    ...row
  }))
  b.node.list = { rows, total: 7000 }
  await met(a, b)
  const [own, other] = await a.cluster.ask({
    kind: 'list-connections',
    sort: 'age',
    limit: 999_999
  })
  t.strictSame(own, { rows: [], total: 0 })
  const bytes = JSON.stringify(other).length
  t.ok(bytes <= MAX_ANSWER_BYTES + 100 && bytes > MAX_ANSWER_BYTES - 10_000, `${bytes} bytes`)
  t.match(other, { total: 7000, rows: [{ id: 'b-0', topicCount: 200 }] })
})

test('nodes list and query each other, and a node that leaves disappears at once', {
  skip: skipRedis
}, async (t) => {
  const url = await redisUrl(t)
  const prefix = freshPrefix()
  const [a, b, c] = [
    await join(t, url, prefix, 'a'),
    await join(t, url, prefix, 'b'),
    await join(t, url, prefix, 'c')
  ]
  const stranger = await join(t, url, freshPrefix(), 'stranger')
  b.node.total = 7
  await met(a, b, c)
  await eventually(() => a.cluster.nodes().some(({ report: { connections } }) => connections === 7))
  const view = a.cluster.nodes()
  t.equal(view[0]?.node, 'a', 'the own node is first')
  t.same(view.map(({ node }) => node).sort(), ['a', 'b', 'c'])
  for (const { lastSeenAt } of view) t.ok(Math.abs(lastSeenAt - Date.now()) < 10_000)
  t.same(
    stranger.cluster.nodes().map(({ node }) => node),
    ['stranger'],
    'nodes with another prefix are not listed'
  )

  a.node.users.set('u', 1)
  c.node.users.set('u', 5)
  t.same([...(await a.cluster.ask({ kind: 'count-user', user: 'u' }))].sort(), [0, 1, 5])
  t.same(c.node.asked.at(-1), { kind: 'count-user', user: 'u' })
  t.same(
    stranger.node.asked.filter(({ kind }) => kind !== 'count-user'),
    []
  )

  await c.cluster.leave()
  await eventually(() => a.cluster.nodes().length === 2)
  // The fastest of several: a busy machine delays some of them, a wrong wait delays all.
  let quickest = Number.POSITIVE_INFINITY
  for (let n = 0; n < 5; n++) {
    const started = performance.now()
    t.equal((await a.cluster.ask({ kind: 'count-user', user: 'u' })).length, 2)
    quickest = Math.min(quickest, performance.now() - started)
  }
  t.ok(quickest < 300, 'questions do not wait for a node that left')
})

test('the last connection slot of a user is given once, however many nodes ask at the same time', {
  skip: skipRedis
}, async (t) => {
  const url = await redisUrl(t)
  const prefix = freshPrefix()
  const nodes = [
    await join(t, url, prefix, 'a', 3),
    await join(t, url, prefix, 'b', 3),
    await join(t, url, prefix, 'c', 3)
  ]
  await met(...nodes)
  for (let round = 0; round < 50; round++) {
    const user = `u${round}`
    const granted = await Promise.all(
      Array.from({ length: 9 }, (_, n) => nodes[(n + round) % 3]!.open(user))
    )
    t.equal(granted.filter(Boolean).length, 3, user)
    const [one] = nodes.filter(({ node }) => node.slotsOf(user) > 0)
    one!.close(user)
    const again = await Promise.all(nodes.map((node) => node.open(user)))
    t.equal(again.filter(Boolean).length, 1, 'a slot that was released is given once')
  }
})

test('when the lease of a dead node ends, its slots are free and the node list drops it', {
  skip: skipRedis
}, async (t) => {
  const url = await redisUrl(t)
  const prefix = freshPrefix()
  const redis = new Redis(url)
  t.teardown(() => redis.disconnect())
  const [seen, reports, places] = ['seen', 'reports', 'places:ghost'].map(
    (name) => `${prefix}:{nodes}:${name}`
  ) as [string, string, string]
  const diedAgo = async (ms: number): Promise<void> => {
    const [seconds] = await redis.time()
    await redis.zadd(seen, Number(seconds) * 1000 - ms, 'ghost')
    await redis.hset(reports, 'ghost', JSON.stringify(report(2)))
  }
  await diedAgo(LEASE_MS - 5000)
  await redis.hset(places, 'u', 2)
  const a = await join(t, url, prefix, 'a', 2)
  await eventually(() => a.cluster.nodes().length === 2)
  t.notOk(await a.open('u'), 'a node that was silent for less than its lease counts as alive')
  await diedAgo(LEASE_MS + 1000)
  t.ok(await a.open('u'))
  t.ok(await a.open('u'))
  t.notOk(await a.open('u'))
  await eventually(() => a.cluster.nodes().length === 1)
  t.equal(await redis.exists(places), 0, 'its keys are deleted')
})

test('a node whose lease ended while it was paused reports its slots again', {
  skip: skipRedis
}, async (t) => {
  const url = await redisUrl(t)
  const prefix = freshPrefix()
  const redis = new Redis(url)
  t.teardown(() => redis.disconnect())
  const [a, b] = [await join(t, url, prefix, 'a', 2), await join(t, url, prefix, 'b', 2)]
  await met(a, b)
  t.ok(await b.open('u'))
  t.ok(await b.open('u'))
  await redis.del(`${prefix}:{nodes}:places:b`)
  await eventually(async () => (await redis.hget(`${prefix}:{nodes}:places:b`, 'u')) === '2')
  t.notOk(await a.open('u'))
})

test('while Redis is down or hangs, streams open without waiting and each node applies the limit by itself', {
  skip: skipOwnServer
}, async (t) => {
  const server = await startRedis(t, { persistence: 'none' })
  const prefix = freshPrefix()
  const [a, b] = [
    await join(t, server.url, prefix, 'a', 2),
    await join(t, server.url, prefix, 'b', 2)
  ]
  await met(a, b)
  t.ok(await a.open('u'))

  server.freeze()
  let started = performance.now()
  t.ok(await b.open('u'))
  t.ok(
    performance.now() - started < ACQUIRE_SLOT_MS + 1000,
    'the first open waits until its time limit'
  )
  started = performance.now()
  t.same(
    await Promise.all([b.open('u'), b.open('u')]),
    [true, false],
    'the node admits two, as if it were alone'
  )
  t.ok(performance.now() - started < ACQUIRE_SLOT_MS, 'later opens do not wait')
  t.match(b.troubles, [/limits per user hold on each node by itself/])
  await server.kill()
  t.same(
    await b.cluster.ask({ kind: 'count-user', user: 'u' }),
    [2],
    'only its own answer, at once'
  )
  a.close('u')
  t.ok(await a.open('u'))
  t.equal(b.troubles.length, 1, 'the outage is reported once')

  await server.start()
  await met(a, b)
  const redis = new Redis(server.url)
  t.teardown(() => redis.disconnect())
  await eventually(async () => (await redis.hget(`${prefix}:{nodes}:places:b`, 'u')) === '2')
  t.notOk(await a.open('u'), 'both connections are still open, so no more are admitted')
  b.close('u')
  b.close('u')
  // Closing does not wait for Redis: the other node may ask before Redis knows of it.
  await eventually(
    async () => Number((await redis.hget(`${prefix}:{nodes}:places:b`, 'u')) ?? 0) === 0
  )
  t.ok(await a.open('u'))
})

test('after an outage a node reports the slots of all its users, however many there are', {
  skip: skipOwnServer
}, async (t) => {
  const server = await startRedis(t, { persistence: 'none' })
  const prefix = freshPrefix()
  const b = await join(t, server.url, prefix, 'b', 2)
  await met(b)
  server.freeze()
  for (let n = 0; n <= MAX_UNSURE_USERS + 5; n++) {
    const open = b.open(`u${n}`)
    // The first call notices that Redis is away, the others know it.
    if (n === 0) await open
  }
  server.thaw()
  const redis = new Redis(server.url)
  t.teardown(() => redis.disconnect())
  await eventually(
    async () => (await redis.hget(`${prefix}:{nodes}:places:b`, `u${MAX_UNSURE_USERS + 5}`)) === '1'
  )
  t.equal(await redis.hget(`${prefix}:{nodes}:places:b`, 'u1'), '1')
})

test('nodes, slots, import and export work on a Redis Cluster', {
  skip: skipOwnServer,
  timeout: 240_000
}, async (t) => {
  const { url } = await startRedisCluster(t)
  const prefix = freshPrefix()
  const [a, b] = [await join(t, url, prefix, 'a', 2), await join(t, url, prefix, 'b', 2)]
  await met(a, b)
  b.node.users.set('counted', 4)
  t.same([...(await a.cluster.ask({ kind: 'count-user', user: 'counted' }))].sort(), [0, 4])
  const granted = await Promise.all([a.open('u'), b.open('u'), a.open('u'), b.open('u')])
  t.equal(granted.filter(Boolean).length, 2)

  const options = { redisUrl: url, redisPrefix: freshPrefix(), redisShards: 1, retentionDays: 30 }
  const records: ArchiveRecord[] = [
    {
      kind: 'notification',
      id: 'n1',
      to: { users: ['ann', 'bob'] },
      content: '"type":"a","level":"info","key":"k"',
      key: 'k',
      createdAt: 1_800_000_000_000,
      producer: 'p',
      places: [
        { channel: 'user:ann', times: 2, replaces: 'n0' },
        { channel: 'user:bob', times: 0 }
      ]
    },
    { kind: 'mark', user: 'bob', id: 'n1', readAt: 1_800_000_000_001, archived: true },
    { kind: 'revocation', user: 'eve', at: 1_800_000_000_002 }
  ]
  const abandoned = await RedisArchiveTarget.open(options)
  await abandoned.load(records)
  await abandoned.close()
  const target = await RedisArchiveTarget.open(options)
  await target.load(records)
  await target.commit()
  await target.close()
  const source = await RedisArchiveSource.open(options)
  const found: ArchiveRecord[] = []
  for await (const record of source.records()) found.push(record)
  await source.close()
  t.same(found, records)
})
