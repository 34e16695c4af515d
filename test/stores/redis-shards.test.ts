import fc from 'fast-check'
import t from 'tap'
import { scopeOf } from '../../src/core/channel.ts'
import type { Store } from '../../src/core/store.ts'
import { openStore } from '../../src/stores/open-store.ts'
import { interleaved, shardOf } from '../../src/stores/redis/sharding.ts'
import { startRedisCluster } from './redis-masters.ts'
import { redisUrl, skipOwnServer, skipRedis } from './redis-server.ts'
import { Followed, publication, storeOptions } from './store-fixtures.ts'

const users = Array.from({ length: 12 }, (_, n) => `u${n}`)
const titles = async (store: Store, user: string): Promise<string[]> =>
  (await store.inbox(user, scopeOf(user, ['news']), { status: 'all', limit: 100 })).items.map(({ entry }) => entry.id)
const idempotent = (key: string, fingerprint = 'f') => ({ idempotency: { key: `tests\n${key}`, fingerprint } })

t.test('lists become one, in an order that all of them agree with', async (t) => {
  const member = fc.record({ id: fc.nat(30), lists: fc.nat(7) })
  fc.assert(
    fc.property(fc.uniqueArray(member, { selector: ({ id }) => id, maxLength: 30 }), (members) => {
      // Any order, and each member in those of three lists whose bit is set.
      const lists = [0, 1, 2].map((k) => members.filter((one) => (one.lists >> k) & 1).map(({ id }) => String(id)))
      const found = [...interleaved(lists)]
      const wanted = new Set(lists.flat())
      if (found.length !== wanted.size || found.some((id) => !wanted.has(id))) throw new Error('not each once')
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
    'where they contradict, the first is right'
  )
})

t.test('three shards on one server', { skip: skipRedis }, async (t) => {
  const url = await redisUrl(t)
  let drawn = 0
  const options = (redisShards: number) =>
    storeOptions('', { store: 'redis', redisUrl: url, redisPrefix: `s${process.pid}x${drawn}`, redisShards })
  const open = async (): Promise<Store> => {
    drawn += 1
    const store = await openStore(options(3))
    t.teardown(() => store.close())
    return store
  }

  t.test('a user lives in one, what is shared lies in each, and the order of a call is that of every reader', async (t) => {
    const store = await open()
    t.equal(new Set(users.map((user) => store.logOf(user))).size, 3)
    const items = Array.from({ length: 60 }, (_, n) =>
      publication(n % 3 === 0 ? { topic: 'news' } : n % 3 === 1 ? { users } : { user: users[n % users.length]! })
    )
    const outcomes = await store.publish(items)
    t.same(
      outcomes.map((outcome) => 'id' in outcome && outcome.id),
      items.map(({ id }) => id)
    )
    for (const user of users) {
      const mine = items.filter(({ to }) => !('user' in to) || to.user === user).map(({ id }) => id)
      t.same(await titles(store, user), mine.toReversed())
    }
    t.same((await store.trace(items[0]!.id))?.places.length, 3)
    t.ok(await store.recall(items[1]!.id))
    t.equal(await store.notification(items[1]!.id), null)
    for (const user of users) t.notOk((await titles(store, user)).includes(items[1]!.id))
  })

  t.test('an idempotency key is one for all shards, whatever it was used for', async (t) => {
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
      const [[accepted], [replayed]] = await Promise.all([store.publish([first]), store.publish([again()])])
      t.same([accepted?.kind, replayed?.kind].sort(), ['accepted', 'replayed'], 'also at once')
      const { id } = accepted as { id: string }
      t.equal((replayed as { id: string }).id, id)
      const other = publication({ user: users[(n + 1) % users.length]! }, idempotent(`k${n}`, 'g'))
      t.same(await store.publish([again('g'), other, again()]), [
        { kind: 'key-reused' },
        { kind: 'key-reused' },
        { ...replayed, kind: 'replayed' }
      ])
    }
    const seen = followed.events.map((event) =>
      event.kind === 'notification' ? `${event.channel} ${event.entry.id}` : event.kind
    )
    t.equal(new Set(seen).size, 2 * users.length + 2, 'nothing else was appended')
    t.equal(seen.length, 2 * users.length + 2 * 3, 'and what is shared once to each shard')
  })

  t.test('what has expired is in no shard, and its key stays free of an id', async (t) => {
    const store = await open()
    const late = { ...idempotent('late'), expiresAt: Date.now() - 1 }
    t.same(await store.publish([publication({ topic: 'news' }, late)]), [{ kind: 'expired' }])
    t.match(await store.publish([publication({ topic: 'news' }, idempotent('late', 'g'))]), [{ kind: 'accepted' }])
  })

  t.test('a ticket is found whose ever it is, once, and forgotten with its user', async (t) => {
    const store = await open()
    for (const user of users) {
      await store.putTicket(`hash-${user}`, { user, topics: ['news'] }, Date.now() + 60_000)
      await store.putTicket(`other-${user}`, { user, topics: [] }, Date.now() + 60_000)
      t.same(await store.takeTicket(`hash-${user}`, { keep: true }), { user, topics: ['news'] })
      const taken = await Promise.all([store.takeTicket(`hash-${user}`), store.takeTicket(`hash-${user}`)])
      t.same(
        taken.filter((one) => one !== null),
        [{ user, topics: ['news'] }]
      )
      await store.revoke(user)
      t.equal(await store.takeTicket(`other-${user}`), null)
      t.ok((await store.revokedAt(user)) > 0)
    }
  })

  t.test('another number of shards is refused, and touches nothing', async (t) => {
    const store = await open()
    const item = publication({ everyone: true })
    await store.publish([item])
    for (const wrong of [1, 2, 4]) {
      await t.rejects(openStore(options(wrong)), {
        name: 'StoreOpenError',
        message: /^the log was begun with REDIS_SHARDS=3: .*set it as it was, or export the log and import it/
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

t.test('a cluster: each shard where it belongs, and one that is away is no loss', { skip: skipOwnServer }, async (t) => {
  const { servers, url } = await startRedisCluster(t)
  const shards = 6
  const options = storeOptions('', { store: 'redis', redisUrl: url, redisShards: shards })
  const [store, other] = [await openStore(options), await openStore(options)]
  t.teardown(() => Promise.all([store.close(), other.close()]))
  const followed = new Followed(other)
  const everywhere = publication({ everyone: true }, idempotent('first'))
  t.match(await store.publish([everywhere]), [{ kind: 'accepted' }])
  const held = await Promise.all(
    servers.map(async (server) => (await server.say('KEYS bellwire:*:log')).match(/:log/g)?.length ?? 0)
  )
  t.equal(
    held.reduce((sum, n) => sum + n, 0),
    shards
  )
  t.ok(held.filter((n) => n > 0).length > 1, `they lie on several masters: ${held}`)

  // The master of some shards, but not of the one that knows the key.
  const home = shardOf('tests\nagain', shards)
  const tagOf = (shard: number): string => (shard === 0 ? 'bellwire' : `bellwire.${shard}`)
  const holds = async (server: (typeof servers)[0], shard: number): Promise<boolean> =>
    (await server.say(`KEYS bellwire:{${tagOf(shard)}}:state`)).includes(':state')
  let victim: (typeof servers)[0] | undefined
  for (const [n, server] of servers.entries()) if (held[n]! > 0 && !(await holds(server, home))) victim = server
  const away = victim!
  const lost = new Set<number>()
  for (let shard = 0; shard < shards; shard++) if (await holds(away, shard)) lost.add(shard)
  const of = (wanted: boolean): string[] => users.filter((user) => lost.has(shardOf(user, shards)) === wanted)
  t.ok(of(true).length > 0 && of(false).length > 0)
  await away.kill()

  const again = (): ReturnType<typeof publication> => publication({ everyone: true }, idempotent('again'))
  await t.rejects(store.publish([again()]), { name: 'StoreError', kind: 'unavailable' })
  while (store.status().healthy) await new Promise((resolve) => setTimeout(resolve, 20))
  t.ok(store.status().reason)
  for (const user of of(false)) {
    t.ok(store.logOf(user).healthy, 'users of the other shards go on')
    t.match(await store.publish([publication({ user })]), [{ kind: 'accepted' }])
    t.equal((await titles(store, user)).length, 3)
  }
  for (const user of of(true)) await t.rejects(store.publish([publication({ user })]), { name: 'StoreError' })

  await away.start()
  const until = performance.now() + 20_000
  let outcome: unknown
  while (outcome === undefined && performance.now() < until)
    outcome = (await store.publish([again()]).catch(() => [undefined]))[0]
  t.match(outcome, { kind: 'replayed' }, 'the same key completes it')
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
      (event) => event.kind === 'notification' && event.entry.id === after.id && event.channel === `user:${user}`
    )
  const heard = followed.events.filter((event) => event.kind === 'notification' && event.entry.id === id)
  t.equal(heard.length, shards, 'the other process heard it once from each shard')
})
