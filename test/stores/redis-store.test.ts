import { Redis } from 'ioredis'
import t from 'tap'
import { scopeOf } from '../../src/log/channel.ts'
import { formatCursor, resolveCursor } from '../../src/log/cursor.ts'
import { openStore } from '../../src/stores/open-store.ts'
import { redisUrl, skipRedis } from './redis-server.ts'
import { storeContract } from './store-contract.ts'
import { Followed, publication, storeOptions } from './store-fixtures.ts'
import { countsProperty, storeProperty } from './store-property.ts'

let drawn = 0

/** A separate log on the same server. */
const fresh = (url: string) =>
  storeOptions('', {
    store: 'redis',
    redisUrl: url,
    redisPrefix: `test-${process.pid}-${Date.now()}-${++drawn}`
  })

t.test('redis', { skip: skipRedis }, async (t) => {
  const url = await redisUrl(t)
  storeContract(t, (options) => openStore({ ...fresh(url), ...options }))

  t.test('counts and lists match the entries, whichever way entries are removed', async (t) => {
    const store = await openStore({ ...fresh(url), retentionPerChannel: 4 })
    t.teardown(() => store.close())
    await countsProperty(t, store, 25)
  })

  t.test('marks that an earlier version stored as sums are counted correctly', async (t) => {
    const options = fresh(url)
    const store = await openStore(options)
    t.teardown(() => store.close())
    const raw = new Redis(url)
    t.teardown(() => raw.disconnect())
    const scope = scopeOf('ann', ['t'])
    const items = Array.from({ length: 10 }, () => publication({ topic: 't' }))
    await store.publish(items)
    const allows = () => true
    const ids = (...nths: number[]) => ({ ids: nths.map((n) => items[n]!.id), allows })
    await store.mark('ann', 'read', ids(0, 1, 5))
    await store.mark('ann', 'seen', ids(6))
    await store.mark('ann', 'archived', ids(2))
    const look = async () => {
      const views = []
      for (const status of ['all', 'unread', 'archived'] as const)
        views.push(await store.inbox('ann', scope, { status, limit: 100 }))
      return views
    }
    const [marks] = (await raw.keys(`${options.redisPrefix}:*m:ann topic:t`)) as [string]
    for (const change of [() => {}, () => store.recall(items[1]!.id)]) {
      await change()
      const known = await look()
      const own = (await raw.hkeys(marks)).filter((field) => !/^\d/.test(field))
      const removals = await raw.hget(marks.replace('m:ann topic:t', 'i:topic:t'), 'r')
      await raw.hdel(marks, ...own)
      await raw.hset(marks, '@', removals ?? '0', '#', '4')
      t.same(await look(), known)
      t.same(known[0]?.counts, { unread: 6, unseen: 5 })
    }
  })

  t.test('a store of three shards passes the store contract', async (t) => {
    storeContract(t, (options) => openStore({ ...fresh(url), redisShards: 3, ...options }))
  })

  t.test('a batch for many recipients is appended in slices and keeps its order', async (t) => {
    const store = await openStore(fresh(url))
    t.teardown(() => store.close())
    const followed = new Followed(store)
    const users = Array.from({ length: 1000 }, (_, n) => `u${n}`)
    const items = Array.from({ length: 300 }, (_, n) =>
      publication(n % 100 === 0 ? { users } : { user: 'u7' })
    )
    const outcomes = await store.publish(items)
    t.same(
      outcomes.map((outcome) => 'id' in outcome && outcome.id),
      items.map(({ id }) => id)
    )
    t.equal(store.logs[0].head, 3 * 1000 + 297)
    const mine = followed.events.flatMap((event) =>
      event.kind === 'notification' && event.channel === 'user:u7' ? [event.entry.id] : []
    )
    t.same(
      mine,
      items.map(({ id }) => id)
    )
  })

  t.test(
    'a starting process removes entries beyond retention, and a cursor from before them cannot be resumed',
    async (t) => {
      const options = { ...fresh(url), retentionDays: 30 }
      const old = Date.now() - 31 * 24 * 60 * 60 * 1000
      const first = await openStore(options)
      await first.publish([
        publication({ user: 'ann' }, { createdAt: old }),
        publication({ topic: 'idle' }, { createdAt: old })
      ])
      const kept = publication({ user: 'ann' })
      await first.publish([kept])
      await first.close()
      const store = await openStore(options)
      t.teardown(() => store.close())
      const scope = scopeOf('ann', ['idle'])
      t.same(
        (await store.inbox('ann', scope, { status: 'all', limit: 10 })).items.map(
          ({ entry }) => entry.id
        ),
        [kept.id]
      )
      t.same(await store.counts('ann', scope), { unread: 1, unseen: 1 })
      t.same(await store.read('ann', scope, 1, 10), { gap: true })
      t.notOk('gap' in (await store.read('ann', scope, 2, 10)))
      t.equal(store.logs[0].oldest, 2)
    }
  )

  t.test('a process that is behind accepts a cursor from a process that is ahead', async (t) => {
    const options = fresh(url)
    const [one, other] = [await openStore(options), await openStore(options)]
    t.teardown(() => Promise.all([one.close(), other.close()]))
    let behind = 0
    while (behind < 5) {
      await one.publish([publication({ user: 'ann' })])
      const { epoch, head } = one.logOf('ann')
      if (other.logOf('ann').head < head) behind += 1
      t.same(await resolveCursor(other, 'ann', formatCursor(epoch, head)), { seq: head })
    }
    const { epoch, head } = one.logOf('ann')
    t.same(await resolveCursor(other, 'ann', formatCursor(epoch, head + 1)), {
      reset: 'cursor_unknown',
      undone: true
    })
  })

  t.test(
    'two processes on the same shards give the results of the model, whichever is asked',
    (t) =>
      storeProperty(
        t,
        async () => {
          const options = { ...fresh(url), redisShards: 3 }
          let [store, other] = [await openStore(options), await openStore(options)]
          const reopen = async () => {
            ;[store, other] = [other, store]
            for (const user of ['u1', 'u2', 'u3']) {
              await store.catchUp(user)
              const [one, two] = [store.logOf(user), other.logOf(user)]
              if (one.epoch !== two.epoch || one.head !== two.head) throw new Error('they differ')
            }
            return store
          }
          return {
            store,
            reopen,
            end: async () => void (await Promise.all([store.close(), other.close()]))
          }
        },
        15
      )
  )

  t.test(
    'random operations give the results of a plain model, also across restarts of the process',
    (t) =>
      storeProperty(
        t,
        async () => {
          const options = fresh(url)
          let store = await openStore(options)
          const reopen = async () => {
            const { epoch, head } = store.logs[0]
            await store.close()
            store = await openStore(options)
            if (store.logs[0].epoch !== epoch || store.logs[0].head !== head)
              throw new Error('a restart keeps the epoch')
            return store
          }
          return { store, reopen, end: () => store.close() }
        },
        30
      )
  )
})
