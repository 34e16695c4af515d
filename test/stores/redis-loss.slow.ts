import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { scopeOf } from '../../src/log/channel.ts'
import type { FollowedEvent } from '../../src/log/event.ts'
import type { Store } from '../../src/log/store.ts'
import { openStore } from '../../src/stores/open-store.ts'
import type { StoreOptions } from '../../src/stores/store-options.ts'
import { type RedisServer, skipOwnServer, startRedis } from './redis-server.ts'
import { Followed, publication, publishExpiring, storeOptions } from './store-fixtures.ts'

const scope = scopeOf('ann', [])
const ann = { user: 'ann' }

const open = async (
  t: Test,
  redisUrl: string,
  over: Partial<StoreOptions> = {}
): Promise<{ store: Store; followed: Followed }> => {
  const store = await openStore(storeOptions('', { store: 'redis', redisUrl, ...over }))
  t.teardown(() => store.close())
  return { store, followed: new Followed(store) }
}

const publish = (store: Store, n: number) =>
  store.publish(Array.from({ length: n }, () => publication(ann)))
const restarted = (event: FollowedEvent): boolean => event.kind === 'restarted'
const seqsOf = ({ events }: Followed): number[] =>
  events.flatMap((event) => ('seq' in event ? [event.seq] : []))

interface Switch {
  readonly port: number
  /** Sends every connection to another server, or to none. */
  to(server: RedisServer | null): void
}

/** A proxy before a server. It can be pointed at another server, as a fail-over does, or cut. */
async function startSwitch(t: Test, first: RedisServer): Promise<Switch> {
  let target: RedisServer | null = first
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    if (target === null) return near.destroy()
    const far = connect(target.port, '127.0.0.1')
    for (const [socket, other] of [
      [near, far],
      [far, near]
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
    near.pipe(far).pipe(near)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const end = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  t.teardown(() => {
    server.close()
    end()
  })
  return {
    port: (server.address() as { port: number }).port,
    to(server) {
      target = server
      end()
    }
  }
}

/**
 * A replica that has everything its master has now, and receives nothing more until it is linked
 * again.
 */
async function cutReplica(
  t: Test,
  master: RedisServer
): Promise<{ replica: RedisServer; link: Switch }> {
  const replica = await startRedis(t)
  const link = await startSwitch(t, master)
  await replica.say(`REPLICAOF 127.0.0.1 ${link.port}`)
  const offset = async (server: RedisServer, field: string) =>
    new RegExp(`${field}:(\\d+)`).exec(await server.say('INFO replication'))?.[1]
  while (!(await replica.say('INFO replication')).includes('master_link_status:up'))
    await new Promise(setImmediate)
  while (
    (await offset(replica, 'slave_repl_offset')) !== (await offset(master, 'master_repl_offset'))
  )
    await new Promise(setImmediate)
  link.to(null)
  return { replica, link }
}

t.test('Redis loses events that it accepted', { skip: skipOwnServer }, async (t) => {
  t.test(
    'after a fail-over to a lagging replica every node continues on it, and no seq is used twice',
    async (t) => {
      const master = await startRedis(t)
      const between = await startSwitch(t, master)
      const [one, two] = [
        await open(t, `redis://127.0.0.1:${between.port}`),
        await open(t, `redis://127.0.0.1:${between.port}`)
      ]
      await publish(one.store, 10)
      const { replica } = await cutReplica(t, master)
      await publish(two.store, 10)
      await two.followed.until((event) => 'seq' in event && event.seq === 20)
      await one.followed.until((event) => 'seq' in event && event.seq === 20)
      const { epoch } = one.store.logs[0]
      await master.kill()
      await replica.say('REPLICAOF NO ONE')
      between.to(replica)
      await Promise.all([one.followed.until(restarted), two.followed.until(restarted)])
      t.not(one.store.logs[0].epoch, epoch, 'a new epoch')
      t.equal(two.store.logs[0].epoch, one.store.logs[0].epoch, 'every node has the new epoch')
      t.equal(
        (await one.store.counts('ann', scope)).unread,
        10,
        'the log has everything that the replica had'
      )
      await publish(two.store, 1)
      const last = await one.followed.until((event) => 'seq' in event && event.seq > 20)
      t.ok(
        'seq' in last && last.seq > 1_000_000_000,
        'the next seq is above any that the master may have used'
      )
      const seqs = seqsOf(one.followed)
      t.equal(new Set(seqs).size, seqs.length)
    }
  )

  t.test(
    'after a fail-over while all nodes were stopped, cursors of lost events get a gap and all others resume',
    async (t) => {
      const master = await startRedis(t)
      const before = (await open(t, master.url)).store
      await publish(before, 10)
      const { replica } = await cutReplica(t, master)
      await publish(before, 10)
      await before.close()
      await master.kill()
      await replica.say('REPLICAOF NO ONE')
      const { store } = await open(t, replica.url)
      await publish(store, 1)
      const { head } = store.logs[0]
      t.ok(head > 1e9 && Number.isSafeInteger(head), 'the head skips seqs that may have been used')
      for (const [after, wanted] of [
        [10, 1],
        [9, 2],
        [head - 1, 1]
      ] as const) {
        const page = await store.read('ann', scope, after, 100)
        t.equal('gap' in page ? 'gap' : page.events.length, wanted, `after ${after}`)
      }
      for (const lost of [11, 15, 20])
        t.same(await store.read('ann', scope, lost, 100), { gap: true }, `after ${lost}`)
    }
  )

  t.test('two servers restored from the same copy never use the same seq', async (t) => {
    const master = await startRedis(t)
    const { store } = await open(t, master.url)
    await publish(store, 10)
    const heads: number[] = []
    for (let copy = 0; copy < 2; copy++) {
      const { replica } = await cutReplica(t, master)
      await replica.say('REPLICAOF NO ONE')
      const restored = (await open(t, replica.url)).store
      await publish(restored, 3)
      t.equal(restored.logs[0].epoch, store.logs[0].epoch, 'neither copy can know of the other')
      heads.push(restored.logs[0].head)
    }
    t.ok(Math.abs(heads[0]! - heads[1]!) >= 3, heads.join(' and '))
  })

  t.test('emptying Redis starts a new epoch', async (t) => {
    for (const lose of [
      async (redis: RedisServer) => void (await redis.say('FLUSHALL')),
      async (redis: RedisServer) => {
        await redis.kill()
        await redis.start()
      }
    ]) {
      const redis = await startRedis(t, { persistence: 'none' })
      const [one, two] = [await open(t, redis.url), await open(t, redis.url)]
      await publish(one.store, 5)
      const { epoch } = one.store.logs[0]
      await lose(redis)
      await Promise.all([one.followed.until(restarted), two.followed.until(restarted)])
      t.not(one.store.logs[0].epoch, epoch)
      t.equal(one.store.logs[0].epoch, two.store.logs[0].epoch)
      t.equal(one.store.logs[0].head, 0)
      await publish(two.store, 1)
      await one.followed.until((event) => 'seq' in event && event.seq === 1)
      t.same(await one.store.counts('ann', scope), { unread: 1, unseen: 1 })
    }
  })

  t.test('the first publish to an emptied Redis belongs to the new epoch', async (t) => {
    const redis = await startRedis(t)
    const { store } = await open(t, redis.url)
    const { epoch } = store.logs[0]
    await redis.say('FLUSHALL')
    t.match(await publish(store, 1), [{ kind: 'accepted' }])
    t.not(store.logs[0].epoch, epoch)
    t.equal((await store.counts('ann', scope)).unread, 1)
  })

  t.test('a restart that kept all data keeps the epoch', async (t) => {
    const redis = await startRedis(t)
    const { store, followed } = await open(t, redis.url)
    await publish(store, 5)
    const { epoch } = store.logs[0]
    await redis.kill()
    await redis.start()
    while ((await publish(store, 1).catch(() => [])).length === 0) await new Promise(setImmediate)
    t.equal(store.logs[0].epoch, epoch)
    t.notOk(followed.events.some(restarted))
    const page = await store.read('ann', scope, 0, 100)
    t.equal('gap' in page ? 'gap' : page.events.length, 6)
    for (const after of [3, 5, store.logs[0].head])
      t.notOk('gap' in (await store.read('ann', scope, after, 100)), `after ${after}`)
  })

  t.test(
    'a node that falls too far behind the Redis stream continues at its head, and reports it',
    async (t) => {
      const redis = await startRedis(t)
      const { store, followed } = await open(t, redis.url)
      await publish(store, 3)
      const { epoch } = store.logs[0]
      const client = new Redis(redis.port)
      t.teardown(() => client.disconnect())
      await client
        .multi()
        .hset('bellwire:{bellwire}:state', 'seq', 9)
        .xadd(
          'bellwire:{bellwire}:log',
          '9-0',
          'k',
          'n',
          'c',
          'user:ann',
          'h',
          'x 1  0 ',
          'b',
          '"type":"t"'
        )
        .exec()
      t.same(await followed.until(restarted), { kind: 'restarted', head: 9 })
      t.equal(store.logs[0].epoch, epoch, 'the log itself lost nothing')
      t.equal(store.logs[0].head, 9)
      await publish(store, 1)
      t.equal(store.logs[0].head, 10)
    }
  )
})

t.test(
  'recalling a notification removes its scheduled expiry',
  { skip: skipOwnServer },
  async (t) => {
    const redis = await startRedis(t)
    const { store } = await open(t, redis.url)
    const client = new Redis(redis.port)
    t.teardown(() => client.disconnect())
    await store.publish([publication({ topic: 'news' }, { expiresAt: Date.now() + 60_000 })])
    const waited = 'bellwire:{bellwire}:x:'
    const { found } = await publishExpiring(store, ann, {}, async (id) => {
      await store.recall(id)
      return client.zrange(waited, '0', '-1')
    })
    t.same(found, ['user:ann', 'topic:news'])
    while ((await client.zcard(waited)) > 1) await new Promise((resolve) => setTimeout(resolve, 10))
    t.same(await client.zrange(waited, '0', '-1'), ['topic:news'])
  }
)

t.test('lost wake-ups delay events but lose none', { skip: skipOwnServer }, async (t) => {
  const redis = await startRedis(t)
  const [one, two] = [await open(t, redis.url), await open(t, redis.url)]
  for (let n = 0; n < 20; n++) {
    // Every subscriber is disconnected, and wake-ups reach no process until they are back.
    await redis.say('CLIENT KILL TYPE pubsub')
    await publish(one.store, 5)
  }
  await redis.say('CLIENT KILL TYPE pubsub')
  await publish(one.store, 1)
  const rung = performance.now()
  await two.followed.until((event) => 'seq' in event && event.seq === 101)
  t.ok(performance.now() - rung < 6000)
  const all = Array.from({ length: 101 }, (_, n) => n + 1)
  t.same(seqsOf(one.followed), all)
  t.same(seqsOf(two.followed), all)
})

t.test(
  'a publish whose connection breaks is retried and appended once',
  { skip: skipOwnServer },
  async (t) => {
    const redis = await startRedis(t, { persistence: 'none' })
    const [one, two] = [await open(t, redis.url), await open(t, redis.url)]
    const accepted: string[] = []
    for (let n = 0; n < 20; n++) {
      const items = Array.from({ length: 20 }, () => publication(ann))
      const [outcomes] = await Promise.all([
        one.store.publish(items),
        redis.say('CLIENT KILL TYPE normal')
      ])
      for (const outcome of outcomes) if (outcome.kind === 'accepted') accepted.push(outcome.id)
    }
    t.equal(accepted.length, 400)
    for (const { followed } of [one, two]) {
      await followed.until((event) => 'seq' in event && event.seq === 400)
      t.same(
        followed.events.map((event) => event.kind === 'notification' && event.entry.id),
        accepted
      )
    }
  }
)

t.test('Redis refuses writes', { skip: skipOwnServer }, async (t) => {
  t.test('with REDIS_WAIT_REPLICAS a publish fails while the replica is missing', async (t) => {
    const master = await startRedis(t)
    const { store } = await open(t, master.url, { redisWaitReplicas: 1 })
    await t.rejects(publish(store, 1), {
      name: 'StoreError',
      kind: 'unavailable',
      message: /0 of 1 replicas/
    })
    const { link } = await cutReplica(t, master)
    const item = publication(ann, { idempotency: { key: 'k', fingerprint: 'f' } })
    await t.rejects(
      store.publish([item]),
      { name: 'StoreError', kind: 'unavailable' },
      'the replica’s link is cut'
    )
    link.to(master)
    while (!(await master.say('INFO replication')).includes('state=online'))
      await new Promise(setImmediate)
    t.match(
      await store.publish([{ ...item, id: 'other' }]),
      [{ kind: 'replayed', id: item.id }],
      'the same key is not appended twice'
    )
    t.match(await publish(store, 1), [{ kind: 'accepted' }])
  })

  t.test('a full Redis rejects publishing as full, and subscribers can still read', async (t) => {
    const redis = await startRedis(t, { args: ['--maxmemory-policy', 'noeviction'] })
    const { store, followed } = await open(t, redis.url)
    const expiresAt = Date.now() + 2500
    await store.publish([
      publication(ann, { expiresAt }),
      ...Array.from({ length: 5 }, () => publication(ann))
    ])
    // Less than an empty Redis uses.
    await redis.say('CONFIG SET maxmemory 100kb')
    await t.rejects(publish(store, 1), { name: 'StoreError', kind: 'full' })
    const { head } = store.logs[0]
    t.equal((await store.counts('ann', scope)).unread, head)
    await followed.until((event) => event.kind === 'dropped')
    t.equal(
      (await store.counts('ann', scope)).unread,
      head - 1,
      'expired entries are still removed'
    )
    t.equal((await store.inbox('ann', scope, { status: 'all', limit: 5 })).items.length, 5)
    t.ok(store.status().healthy)
    await redis.say('CONFIG SET maxmemory 100mb')
    t.match(
      await publish(store, 1),
      [{ kind: 'accepted' }],
      'publishing works again once there is room'
    )
  })

  t.test('Redis settings that can lose notifications are reported', async (t) => {
    const redis = await startRedis(t, {
      persistence: 'none',
      args: ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru']
    })
    const codes: string[] = []
    const { store } = await open(t, redis.url, {
      log: { trouble: () => {}, warning: ({ code }) => codes.push(code) }
    })
    t.same(codes, ['redis-not-durable', 'redis-evicts'])
    t.match(store.status().warnings, [{ code: 'redis-not-durable' }, { code: 'redis-evicts' }])
    t.ok((store.status().bytes ?? 0) > 0)
    const good = await startRedis(t)
    t.same((await open(t, good.url)).store.status().warnings, [])
  })
})
