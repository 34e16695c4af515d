import fc from 'fast-check'
import t from 'tap'
import { REDIS_REFRESH_MS } from '../../src/bounds/limits.ts'
import { scopeOf, userChannel } from '../../src/log/channel.ts'
import type { Store } from '../../src/log/store.ts'
import { openArchiveSource, openArchiveTarget } from '../../src/stores/open-archive.ts'
import { openStore } from '../../src/stores/open-store.ts'
import type { RedisStore } from '../../src/stores/redis/redis-store.ts'
import { interleaved, shardOf } from '../../src/stores/redis/sharding.ts'
import { eventually } from '../fixtures/eventually.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import { startRedisCluster } from './redis-masters.ts'
import { redisUrl, skipOwnServer, skipRedis, startRedis } from './redis-server.ts'
import { Followed, publication, storeOptions } from './store-fixtures.ts'

// The last two tests mostly wait, for different servers.
t.jobs = 2

const users = Array.from({ length: 12 }, (_, n) => `u${n}`)
const titles = async (store: Store, user: string): Promise<string[]> =>
  (await store.inbox(user, scopeOf(user, ['news']), { status: 'all', limit: 100 })).items.map(
    ({ entry }) => entry.id
  )
const idempotent = (key: string, fingerprint = 'f') => ({
  idempotency: { key: `tests\n${key}`, fingerprint }
})

t.test('merging the lists of several shards keeps the order of each list', async (t) => {
  const member = fc.record({ id: fc.nat(30), lists: fc.nat(7) })
  fc.assert(
    fc.property(fc.uniqueArray(member, { selector: ({ id }) => id, maxLength: 30 }), (members) => {
      // In any order; a member is in those of three lists whose bit is set.
      const lists = [0, 1, 2].map((k) =>
        members.filter((one) => (one.lists >> k) & 1).map(({ id }) => String(id))
      )
      const found = [...interleaved(lists)]
      const wanted = new Set(lists.flat())
      if (found.length !== wanted.size || found.some((id) => !wanted.has(id)))
        throw new Error('not each once')
      for (const list of lists) {
        const own = found.filter((id) => list.includes(id))
        if (own.join() !== list.join()) throw new Error(`${own} is not ${list}`)
      }
    })
  )
  t.same(
    [
      ...interleaved([
        ['a', 'b'],
        ['c', 'b', 'a', 'd']
      ])
    ],
    ['c', 'a', 'b', 'd'],
    'if lists contradict each other, the first counts'
  )
})

t.test('three shards on one server', { skip: skipRedis }, async (t) => {
  const url = await redisUrl(t)
  let drawn = 0
  const options = (redisShards: number) =>
    storeOptions('', {
      store: 'redis',
      redisUrl: url,
      redisPrefix: `s${process.pid}x${drawn}`,
      redisShards
    })
  const open = async (): Promise<Store> => {
    drawn += 1
    const store = await openStore(options(3))
    t.teardown(() => store.close())
    return store
  }

  t.test('a recall by key removes a shared notification from every shard', async (t) => {
    const store = await open()
    const key = { key: 'k' }
    const [news, own] = [publication({ topic: 'news' }, key), publication({ users }, key)]
    await store.publish([news, own])
    for (const user of users) t.same(await titles(store, user), [own.id, news.id])
    t.equal(await store.recallKey('topic:news', 'k'), true)
    t.equal(await store.recallKey('topic:news', 'k'), false)
    t.equal(await store.notification(news.id), null)
    for (const [n, user] of users.entries()) {
      t.same(await titles(store, user), [own.id])
      t.equal(await store.recallKey(userChannel(user), 'k'), true, 'each in their own shard')
      t.same(await titles(store, user), [])
      t.equal(await store.recallKey(userChannel(user), 'k'), false)
      t.equal((await store.notification(own.id)) === null, n === users.length - 1)
    }
  })

  t.test(
    'a user’s events are in one shard, shared events in every shard, and each subscriber sees the publish order',
    async (t) => {
      const store = await open()
      t.equal(new Set(users.map((user) => store.logOf(user))).size, 3)
      const items = Array.from({ length: 60 }, (_, n) =>
        publication(
          n % 3 === 0
            ? { topic: 'news' }
            : n % 3 === 1
              ? { users }
              : { user: users[n % users.length]! }
        )
      )
      const outcomes = await store.publish(items)
      t.same(
        outcomes.map((outcome) => 'id' in outcome && outcome.id),
        items.map(({ id }) => id)
      )
      for (const user of users) {
        const mine = items
          .filter(({ to }) => !('user' in to) || to.user === user)
          .map(({ id }) => id)
        t.same(await titles(store, user), mine.toReversed())
      }
      t.same((await store.details(items[0]!.id))?.entries.length, 3)
      t.ok(await store.recall(items[1]!.id))
      t.equal(await store.notification(items[1]!.id), null)
      for (const user of users) t.notOk((await titles(store, user)).includes(items[1]!.id))
    }
  )

  t.test(
    'an idempotency key is used once across all shards, whoever the recipients are',
    async (t) => {
      const store = await open()
      const followed = new Followed(store)
      for (const [n, to] of [
        ...users.map((user) => ({ user })),
        { users },
        { topic: 'news' },
        { everyone: true as const }
      ].entries()) {
        const first = publication(to, idempotent(`k${n}`))
        const again = (fingerprint?: string) => publication(to, idempotent(`k${n}`, fingerprint))
        const [[accepted], [replayed]] = await Promise.all([
          store.publish([first]),
          store.publish([again()])
        ])
        t.same(
          [accepted?.kind, replayed?.kind].sort(),
          ['accepted', 'replayed'],
          'for concurrent calls as well'
        )
        const { id } = accepted as { id: string }
        t.equal((replayed as { id: string }).id, id)
        const other = publication(
          { user: users[(n + 1) % users.length]! },
          idempotent(`k${n}`, 'g')
        )
        t.same(await store.publish([again('g'), other, again()]), [
          { kind: 'key-reused' },
          { kind: 'key-reused' },
          { ...replayed, kind: 'replayed' }
        ])
      }
      const seen = followed.events.map((event) =>
        event.kind === 'notification' ? `${event.channel} ${event.entry.id}` : event.kind
      )
      t.equal(new Set(seen).size, 2 * users.length + 2, 'no other event was appended')
      t.equal(
        seen.length,
        2 * users.length + 2 * 3,
        'a shared event is appended once to each shard'
      )
    }
  )

  t.test(
    'an expired notification is stored in no shard, and its idempotency key stays free',
    async (t) => {
      const store = await open()
      const late = { ...idempotent('late'), expiresAt: Date.now() - 1 }
      t.same(await store.publish([publication({ topic: 'news' }, late)]), [{ kind: 'expired' }])
      t.match(await store.publish([publication({ topic: 'news' }, idempotent('late', 'g'))]), [
        { kind: 'accepted' }
      ])
    }
  )

  t.test('a ticket works once on any shard, and revoking the user deletes it', async (t) => {
    const store = await open()
    for (const user of users) {
      await store.putTicket(`hash-${user}`, { user, topics: ['news'] }, Date.now() + 60_000)
      await store.putTicket(`other-${user}`, { user, topics: [] }, Date.now() + 60_000)
      t.same(await store.takeTicket(`hash-${user}`, { keep: true }), { user, topics: ['news'] })
      const taken = await Promise.all([
        store.takeTicket(`hash-${user}`),
        store.takeTicket(`hash-${user}`)
      ])
      t.same(
        taken.filter((one) => one !== null),
        [{ user, topics: ['news'] }]
      )
      await store.revoke(user)
      t.equal(await store.takeTicket(`other-${user}`), null)
      t.ok((await store.revokedAt(user)) > 0)
    }
  })

  t.test('opening a log with another number of shards fails and changes nothing', async (t) => {
    const store = await open()
    const item = publication({ everyone: true })
    await store.publish([item])
    for (const wrong of [1, 2, 4]) {
      await t.rejects(openStore(options(wrong)), {
        name: 'StoreOpenError',
        message:
          /^the log was begun with REDIS_SHARDS=3: .*set it back, or export the log and import it/
      })
    }
    const same = await openStore(options(3))
    t.teardown(() => same.close())
    for (const user of users) t.same(await titles(same, user), [item.id])
    drawn += 1
    const one = await openStore(options(1))
    t.teardown(() => one.close())
    await t.rejects(openStore(options(3)), /begun with REDIS_SHARDS=1/)
  })
})

t.test(
  'export and import move a log from one shard to three, to eight, to a file and back to three',
  { skip: skipRedis },
  async (t) => {
    const url = await redisUrl(t)
    const shapes = [1, 3, 8, 0, 3].map((redisShards, n) => ({
      ...storeOptions(tempDir(t), {
        redisUrl: url,
        redisPrefix: `m${process.pid}x${n}`,
        redisShards: Math.max(1, redisShards)
      }),
      store: redisShards === 0 ? ('sqlite' as const) : ('redis' as const)
    }))
    const kept = [
      ...users.map((user) => publication({ user }, idempotent(user))),
      publication({ users }, idempotent('several')),
      publication({ topic: 'news' }, idempotent('news')),
      publication({ everyone: true }, idempotent('everyone'))
    ]
    const gone = [
      publication({ user: users[0]! }, idempotent('gone own')),
      publication({ topic: 'news' }, idempotent('gone'))
    ]
    let store = await openStore(shapes[0]!)
    await store.publish([...kept, ...gone])
    for (const { id } of gone) t.ok(await store.recall(id))
    await store.mark(users[3]!, 'read', { ids: [kept[3]!.id, kept.at(-1)!.id], allows: () => true })
    const view = async () =>
      Promise.all(
        users.map(async (user) => {
          const page = await store.inbox(user, scopeOf(user, ['news']), {
            status: 'all',
            limit: 100
          })
          return {
            counts: page.counts,
            items: page.items.map(({ entry, marks }) => ({ id: entry.id, read: marks.readAt }))
          }
        })
      )
    const before = await view()
    t.same(before[3]?.counts, { unread: 2, unseen: 2 })
    for (const [n, shape] of shapes.entries()) {
      if (n > 0) {
        await store.close()
        const source = await openArchiveSource(shapes[n - 1]!)
        const target = await openArchiveTarget(shape)
        for await (const record of source.records()) await target.load([record])
        await target.commit()
        await Promise.all([source.close(), target.close()])
        store = await openStore(shape)
      }
      const outcomes = await store.publish(
        [...kept, ...gone].map((item) => ({ ...item, id: `${item.id}again${n}` }))
      )
      t.same(
        outcomes,
        [...kept, ...gone].map(({ id, createdAt }) => ({ kind: 'replayed', id, createdAt })),
        `${shape.store} of ${shape.redisShards} knows every key`
      )
      t.same(
        await view(),
        before,
        `${shape.store} of ${shape.redisShards} shows the same, each once, and nothing that was recalled`
      )
    }
    await store.close()
  }
)

t.test(
  'a log whose shards disagree on the holder of a collapse key can be exported',
  { skip: skipRedis },
  async (t) => {
    const url = await redisUrl(t)
    const shape = (redisPrefix: string, redisShards: number) =>
      storeOptions('', {
        store: 'redis',
        redisUrl: url,
        redisPrefix: `d${process.pid}${redisPrefix}`,
        redisShards
      })
    const store = (await openStore(shape('from', 3))) as RedisStore
    const [older, newer, other] = [1, 2, 3].map(() =>
      publication({ topic: 'news' }, { key: 'build' })
    )
    await store.publish([older!, publication({ everyone: true })])
    // As two nodes do at once, and as one does while a shard is away.
    const parts = [[newer!, other!], [], [other!, newer!]]
    await Promise.all(
      parts.map((part, k) =>
        store.logs[k]!.publish(part.map((item) => ({ item, channels: ['topic:news'] })))
      )
    )
    await store.close()
    const source = await openArchiveSource(shape('from', 3))
    const target = await openArchiveTarget(shape('to', 2))
    for await (const record of source.records()) await target.load([record])
    await target.commit()
    await Promise.all([source.close(), target.close()])
    const moved = await openStore(shape('to', 2))
    t.teardown(() => moved.close())
    const views = new Set(
      await Promise.all(users.map(async (user) => (await titles(moved, user)).join()))
    )
    t.equal(views.size, 1, 'every user sees the same')
    const [first, second, third] = [...views][0]!.split(',')
    t.equal(third, undefined)
    t.ok(
      [first, second].filter((id) => [newer!.id, other!.id].includes(id!)).length === 1,
      'one of the later two'
    )
  }
)

t.test(
  'if Redis was down at the start, a process with the wrong number of shards creates no log and serves no user',
  { skip: skipOwnServer, buffered: true },
  async (t) => {
    const redis = await startRedis(t)
    const options = (redisShards: number) =>
      storeOptions('', { store: 'redis', redisUrl: redis.url, redisShards })
    const right = await openStore(options(1))
    t.teardown(() => right.close())
    await redis.kill()
    const wrong = await openStore(options(3))
    t.teardown(() => wrong.close())
    await redis.start()
    await eventually(() => /REDIS_SHARDS=1/.test(wrong.status().reason ?? ''))
    t.match(wrong.status().reason, /^the log was begun with REDIS_SHARDS=1/)
    for (const user of users)
      await t.rejects(wrong.publish([publication({ user })]), {
        name: 'StoreError',
        kind: 'unavailable'
      })
    t.notOk(wrong.logs.some(({ healthy }) => healthy))
    t.equal(
      (await redis.say('KEYS bellwire:{bellwire.*')).trim(),
      '*0',
      'no other shard was created'
    )

    await Promise.all([right.close(), wrong.close()])
    await redis.say('FLUSHALL')
    await redis.kill()
    const late = await openStore(options(3))
    t.teardown(() => late.close())
    await redis.start()
    for (const user of users) {
      await eventually(() => late.logOf(user).healthy)
      t.match(
        await late.publish([publication({ user })]),
        [{ kind: 'accepted' }],
        'with the right number it recovers by itself'
      )
    }

    // Emptied, and begun again with another number by a faster process.
    await redis.say('FLUSHALL\r\nHSET bellwire:{bellwire}:state epoch e seq 0 sub 0 shards 1 run r')
    await eventually(() => !late.logs.some(({ healthy }) => healthy))
    for (const user of users)
      await t.rejects(late.publish([publication({ user })]), {
        name: 'StoreError',
        kind: 'unavailable'
      })
  }
)

t.test(
  'in a Cluster each shard has its own hash slot, and the other shards work while one is down',
  { skip: skipOwnServer, buffered: true },
  async (t) => {
    const { servers, url } = await startRedisCluster(t)
    const shards = 6
    const options = storeOptions('', { store: 'redis', redisUrl: url, redisShards: shards })
    const [store, other] = [await openStore(options), await openStore(options)]
    t.teardown(() => Promise.all([store.close(), other.close()]))
    const followed = new Followed(other)
    const everywhere = publication({ everyone: true }, idempotent('first'))
    t.match(await store.publish([everywhere]), [{ kind: 'accepted' }])
    const held = await Promise.all(
      servers.map(
        async (server) => (await server.say('KEYS bellwire:*:log')).match(/:log/g)?.length ?? 0
      )
    )
    t.equal(
      held.reduce((sum, n) => sum + n, 0),
      shards
    )
    t.ok(held.filter((n) => n > 0).length > 1, `they lie on several masters: ${held}`)

    // The master of some shards, but not of the shard with the key.
    const home = shardOf('tests\nagain', shards)
    const tagOf = (shard: number): string => (shard === 0 ? 'bellwire' : `bellwire.${shard}`)
    const holds = async (server: (typeof servers)[0], shard: number): Promise<boolean> =>
      (await server.say(`KEYS bellwire:{${tagOf(shard)}}:state`)).includes(':state')
    let victim: (typeof servers)[0] | undefined
    for (const [n, server] of servers.entries())
      if (held[n]! > 0 && !(await holds(server, home))) victim = server
    const away = victim!
    const lost = new Set<number>()
    for (let shard = 0; shard < shards; shard++) if (await holds(away, shard)) lost.add(shard)
    const of = (wanted: boolean): string[] =>
      users.filter((user) => lost.has(shardOf(user, shards)) === wanted)
    t.ok(of(true).length > 0 && of(false).length > 0)
    await away.kill()

    const again = (): ReturnType<typeof publication> =>
      publication({ everyone: true }, idempotent('again'))
    await t.rejects(store.publish([again()]), { name: 'StoreError', kind: 'unavailable' })
    await eventually(() => !store.status().healthy)
    t.ok(store.status().reason)
    for (const user of of(false)) {
      t.ok(store.logOf(user).healthy, 'users of the other shards are served')
      t.match(await store.publish([publication({ user })]), [{ kind: 'accepted' }])
      t.equal((await titles(store, user)).length, 3)
    }
    for (const user of of(true))
      await t.rejects(store.publish([publication({ user })]), { name: 'StoreError' })

    // The clients ask the others where its slots are, at a limited rate.
    const asked = async (): Promise<number> => {
      const counts = await Promise.all(
        servers.filter((server) => server !== away).map((server) => server.say('INFO commandstats'))
      )
      return counts.reduce(
        (sum, text) => sum + Number(/cmdstat_cluster\|slots:calls=(\d+)/.exec(text)?.[1] ?? 0),
        0
      )
    }
    const [before, since] = [await asked(), performance.now()]
    await new Promise((resolve) => setTimeout(resolve, 1000))
    const clients = 2 * shards * 3
    const most = clients * ((performance.now() - since) / REDIS_REFRESH_MS + 2)
    t.ok((await asked()) - before <= most, 'each client asks the other nodes at a limited rate')

    // Notifications that are only in other shards can be read and recalled. For all others the store
    // cannot know.
    const [lucky] = of(false)
    await store.putTicket('ticket', { user: lucky!, topics: [] }, Date.now() + 60_000)
    t.same(await store.takeTicket('ticket', { keep: true }), { user: lucky, topics: [] })
    t.same(await store.takeTicket('ticket'), { user: lucky, topics: [] })
    await t.rejects(store.takeTicket('ticket'), { name: 'StoreError' })
    const own = publication({ users: of(false) })
    await store.publish([own])
    t.match(await store.notification(own.id), { to: own.to })
    t.equal((await store.details(own.id))?.entries.length, of(false).length)
    t.equal(await store.recall(own.id), true)
    await t.rejects(store.recall(own.id), { name: 'StoreError' })
    t.match(await store.notification(everywhere.id), { to: { everyone: true } })
    await t.rejects(store.details(everywhere.id), { name: 'StoreError' })

    await away.start()
    let outcome: unknown
    await eventually(async () => {
      outcome = (await store.publish([again()]).catch(() => [undefined]))[0]
      return outcome !== undefined
    })
    t.match(outcome, { kind: 'replayed' }, 'a retry with the same key completes it')
    const { id } = outcome as { id: string }
    for (const user of users) {
      const ids = await titles(store, user)
      t.equal(ids.filter((one) => one === id).length, 1, `${user} has it once`)
      t.equal(ids.at(-1), everywhere.id)
    }
    const after = publication({ users })
    await store.publish([after])
    for (const user of users)
      await followed.until(
        (event) =>
          event.kind === 'notification' &&
          event.entry.id === after.id &&
          event.channel === `user:${user}`
      )
    const heard = () =>
      followed.events.filter((event) => event.kind === 'notification' && event.entry.id === id)
    // One of the shards has none of these users.
    await followed.until(() => heard().length >= shards)
    t.equal(heard().length, shards, 'the other process receives it once from each shard')

    // A process that starts while the first shard is away.
    for (const server of servers) if (await holds(server, 0)) await server.kill()
    const late = await openStore(options)
    t.teardown(() => late.close())
    t.notOk(late.logs[0].healthy)
    // The other masters have five seconds to reply, as after any start.
    const served = () => users.filter((user) => late.logOf(user).healthy)
    await eventually(() => served().length > 0)
    const there = served()
    t.ok(there.length > 0, 'shards that were begun before are served without it')
    for (const user of there) t.equal((await titles(late, user))[0], after.id)
  }
)
