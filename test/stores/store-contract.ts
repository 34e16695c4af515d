import type { Test } from 'tap'
import { type Channel, scopeOf } from '../../src/log/channel.ts'
import type { LoggedEvent } from '../../src/log/event.ts'
import type { Recipients } from '../../src/log/notification.ts'
import type { LogPage, Store } from '../../src/log/store.ts'
import type { StoreOptions } from '../../src/stores/store-options.ts'
import { clockPast, Followed, publication, publishExpiring } from './store-fixtures.ts'

type Open = (options: Partial<StoreOptions>) => Promise<Store>

const ann = { user: 'ann' }
const scope = scopeOf('ann', ['news'])
const every = () => true
const none = () => false

/**
 * Checks every promise of {@link Store}, for users of its first log, to which ann and eve must
 * belong. `open` returns an empty store, which is closed at the end of each test.
 */
export function storeContract(t: Test, open: Open): void {
  const check = (
    name: string,
    body: (t: Test, store: Store, followed: Followed) => Promise<void>,
    options: Partial<StoreOptions> = {}
  ): void => {
    t.test(name, async (t) => {
      const store = await open(options)
      t.teardown(() => store.close())
      await body(t, store, new Followed(store, store.logs[0]))
    })
  }
  const page = async (store: Store, after: number, limit = 100): Promise<LogPage> => {
    const found = await store.read('ann', scope, after, limit)
    if ('gap' in found) throw new Error('unexpected gap')
    return found
  }
  const idsOf = async (
    store: Store,
    status: 'all' | 'unread' | 'archived' = 'all'
  ): Promise<string[]> =>
    (await store.inbox('ann', scope, { status, limit: 100 })).items.map(({ entry }) => entry.id)

  check('a new log is empty, healthy and has an epoch', async (t, store) => {
    t.equal(store.logs[0].head, 0)
    t.match(store.logs[0].epoch, /^[a-z0-9]{8,10}$/)
    t.same(await page(store, 0), {
      events: [],
      upTo: 0,
      more: false,
      counts: { unread: 0, unseen: 0 },
      recount: false
    })
    t.same(await store.inbox('ann', scope, { status: 'all', limit: 10 }), {
      items: [],
      counts: { unread: 0, unseen: 0 },
      head: 0,
      more: false
    })
    t.equal(await store.notification('nothing'), null)
    t.equal(await store.recall('nothing'), false)
    t.ok(store.status().healthy)
  })

  check('user names with special characters never share data', async (t, store) => {
    const users = [
      'auth0|64ab',
      'auth0',
      '64ab',
      'ann+x@example.com',
      'ann',
      'a=b',
      'a~1',
      'urn:x/y',
      '|',
      '+',
      '=',
      '~',
      '-'
    ]
    const published = users.map((user) =>
      publication({ user }, { id: `id-${Buffer.from(user).toString('hex')}` })
    )
    t.same(
      (await store.publish(published)).map(({ kind }) => kind),
      users.map(() => 'accepted')
    )
    const idsFor = async (user: string): Promise<string[]> =>
      (await store.inbox(user, scopeOf(user, []), { status: 'unread', limit: 10 })).items.map(
        ({ entry }) => entry.id
      )
    for (const [i, user] of users.entries()) t.same(await idsFor(user), [published[i]!.id], user)
    for (const [i, user] of users.entries()) {
      const { affected } = await store.mark(user, 'read', {
        ids: [published[i]!.id],
        allows: every
      })
      t.equal(affected, 1, user)
      t.same(await idsFor(user), [])
    }
    await store.revoke('auth0|64ab')
    t.ok((await store.revokedAt('auth0|64ab')) > 0)
    t.equal(await store.revokedAt('auth0'), 0)
    await store.erase('ann+x@example.com')
    t.equal(
      (await store.inbox('ann', scopeOf('ann', []), { status: 'all', limit: 10 })).items.length,
      1
    )
    t.equal(
      (
        await store.inbox('ann+x@example.com', scopeOf('ann+x@example.com', []), {
          status: 'all',
          limit: 10
        })
      ).items.length,
      0
    )
  })

  check(
    'a publish reaches the channels of each kind of recipient, in order',
    async (t, store, followed) => {
      const items = [
        ann,
        { users: ['eve', 'ann', 'eve'] },
        { topic: 'news' },
        { topic: 'other' },
        { everyone: true as const }
      ].map((to) => publication(to))
      const outcomes = await store.publish(items)
      t.same(
        outcomes,
        items.map(({ id, createdAt }) => ({ kind: 'accepted', id, createdAt }))
      )
      const logged = followed.events as LoggedEvent[]
      t.same(
        logged.map(({ channel }) => channel),
        ['user:ann', 'user:eve', 'user:ann', 'topic:news', 'topic:other', 'everyone']
      )
      t.same(
        logged.map(({ seq }) => seq),
        [1, 2, 3, 4, 6, 8],
        'the seq after an event of a shared channel stays unused'
      )
      t.equal(store.logs[0].head, 9)
      const { events, upTo, more, counts } = await page(store, 0)
      t.same(
        events.map(({ seq }) => seq),
        [1, 3, 4, 8]
      )
      t.match(events[0], {
        kind: 'notification',
        op: 'created',
        channel: 'user:ann',
        entry: { id: items[0]!.id, content: items[0]!.content, times: 0 }
      })
      t.same([upTo, more, counts], [9, false, { unread: 4, unseen: 4 }])
      t.match(await store.notification(items[1]!.id), {
        id: items[1]!.id,
        to: { users: ['eve', 'ann', 'eve'] },
        content: items[1]!.content
      })
      t.same((await store.notification(items[4]!.id))?.to, { everyone: true })
      t.same((await store.notification(items[3]!.id))?.to, { topic: 'other' })
    }
  )

  check(
    'the details of a notification have its producer, its entries and how many readers marked it',
    async (t, store) => {
      const [both, shared, kept] = [
        publication({ users: ['ann', 'eve'] }, { producer: 'billing' }),
        publication({ topic: 'news' }),
        publication(ann, { key: 'k' })
      ]
      const { epoch } = store.logs[0]
      await store.publish([both, shared, kept, publication(ann, { key: 'k' })])
      await store.mark('ann', 'read', { ids: [both.id, shared.id], allows: every })
      await store.mark('eve', 'archived', { ids: [shared.id], allows: every })
      t.same(await store.details(both.id), {
        id: both.id,
        to: { users: ['ann', 'eve'] },
        content: both.content,
        createdAt: both.createdAt,
        producer: 'billing',
        entries: [
          { channel: 'user:ann', seq: 1, epoch },
          { channel: 'user:eve', seq: 2, epoch }
        ],
        readers: { seen: 1, read: 1, archived: 0 }
      })
      const found = await store.details(shared.id)
      t.same(found?.readers, { seen: 2, read: 1, archived: 1 })
      t.same(
        found?.entries,
        store.logs.map((log) => ({
          channel: 'topic:news',
          seq: log === store.logs[0] ? 3 : 1,
          epoch: log.epoch
        }))
      )
      t.equal(await store.details(kept.id), null, 'another notification replaced it')
      await store.erase('ann')
      t.match(await store.details(both.id), {
        entries: [{ channel: 'user:eve', seq: 2 }],
        readers: { seen: 0, read: 0, archived: 0 }
      })
      await store.recall(both.id)
      t.equal(await store.details(both.id), null)
    }
  )

  check(
    'a client that was offline receives `removed` for a collapsed notification whose replacement is gone',
    async (t, store, followed) => {
      const key = { key: 'k' }
      const [a, b, c] = [publication(ann, key), publication(ann, key), publication(ann, key)]
      const gone = async (after: number) => {
        const page = await store.read('ann', scope, after, 100)
        if ('gap' in page) throw new Error('unexpected gap')
        return page.events.map((event) =>
          event.kind === 'state'
            ? [event.seq, event.op, ...(event.ids ?? [])]
            : [event.seq, event.op, event.entry.id, event.entry.replaces]
        )
      }
      await store.publish([a])
      await store.publish([b])
      await store.publish([c])
      t.same(
        await gone(0),
        [[3, 'updated', c.id, b.id]],
        'a client that saw no earlier one gets no `removed`'
      )
      t.same(await gone(1), [
        [2, 'removed', a.id],
        [3, 'updated', c.id, b.id]
      ])
      t.same(
        await gone(2),
        [[3, 'updated', c.id, b.id]],
        'a client that saw the second gets the third'
      )
      await store.recall(c.id)
      t.same(await gone(1), [
        [2, 'removed', a.id],
        [4, 'removed', c.id]
      ])
      t.same(await gone(2), [
        [3, 'removed', b.id],
        [4, 'removed', c.id]
      ])
      const d = publication({ topic: 'news' }, key)
      await store.publish([d])
      const { expiresAt } = await publishExpiring(store, { topic: 'news' }, key)
      await clockPast(expiresAt)
      t.same(await gone(5), [[7, 'removed', d.id]], 'from the moment its replacement expires')
      await followed.until((event) => event.kind === 'dropped' && event.channel === 'topic:news')
      t.same(await gone(5), [[7, 'removed', d.id]], 'and also later')
    }
  )

  check('paging through the log or the inbox skips no entry', async (t, store) => {
    const items = Array.from({ length: 25 }, (_, i) =>
      publication(i % 3 ? ann : i % 2 ? { topic: 'news' } : { everyone: true })
    )
    await store.publish(items)
    const replayed: string[] = []
    for (let after = 0, more = true; more; ) {
      const slice = await page(store, after, 4)
      for (const event of slice.events)
        if (event.kind === 'notification') replayed.push(event.entry.id)
      after = slice.upTo
      more = slice.more
    }
    t.same(
      replayed,
      items.map(({ id }) => id)
    )
    const listed: string[] = []
    for (let before: number | undefined, more = true; more; ) {
      const slice = await store.inbox('ann', scope, { status: 'all', limit: 4, before })
      listed.push(...slice.items.map(({ entry }) => entry.id))
      before = slice.items.at(-1)?.entry.seq
      more = slice.more
    }
    t.same(listed, items.map(({ id }) => id).reverse())
  })

  check('a page of the log has at least one event and at most about 1 MiB', async (t, store) => {
    const content = `"type":"t","level":"info","data":{"text":"${'é'.repeat(7000)}"}`
    await store.publish(Array.from({ length: 180 }, () => publication(ann, { content })))
    const found: number[] = []
    for (let after = 0, more = true; more; ) {
      const slice = await page(store, after, 500)
      t.ok(slice.events.length > 0 && slice.events.length < 80, `${slice.events.length} events`)
      found.push(...slice.events.map(({ seq }) => seq))
      after = slice.upTo
      more = slice.more
      t.equal(after, more ? found.at(-1) : store.logs[0].head)
    }
    t.equal(new Set(found).size, 180)
  })

  check(
    'an idempotency key appends once: for repeated, batched and simultaneous publishes',
    async (t, store, followed) => {
      const idempotency = { key: 'k', fingerprint: 'f' }
      const first = publication(ann, { idempotency })
      await store.publish([first])
      t.match(await store.publish([publication(ann, { idempotency })]), [
        { kind: 'replayed', id: first.id, createdAt: first.createdAt }
      ])
      t.match(
        await store.publish([publication(ann, { idempotency: { key: 'k', fingerprint: 'g' } })]),
        [{ kind: 'key-reused' }]
      )
      const twin = () => publication(ann, { idempotency: { key: 'twin', fingerprint: 'f' } })
      t.match(await store.publish([twin(), twin(), publication(ann)]), [
        { kind: 'accepted' },
        { kind: 'replayed' },
        { kind: 'accepted' }
      ])
      const race = () =>
        store.publish([publication(ann, { idempotency: { key: 'race', fingerprint: 'f' } })])
      const kinds = (await Promise.all([race(), race(), race()])).map(([outcome]) => outcome?.kind)
      t.same(kinds, ['accepted', 'replayed', 'replayed'])
      t.equal(followed.events.length, 4)
      await store.recall(first.id)
      t.match(
        await store.publish([publication(ann, { idempotency })]),
        [{ kind: 'replayed', id: first.id }],
        'even after a recall'
      )
    }
  )

  check(
    'a publication that has already expired is rejected and leaves its idempotency key free',
    async (t, store, followed) => {
      const past = Date.now() - 1
      const idempotency = { key: 'late', fingerprint: 'f' }
      t.match(
        await store.publish([publication(ann, { expiresAt: past, idempotency }), publication(ann)]),
        [{ kind: 'expired' }, { kind: 'accepted' }]
      )
      t.match(
        await store.publish([publication(ann, { idempotency })]),
        [{ kind: 'accepted' }],
        'its key is still free'
      )
      t.equal(followed.events.length, 2)
    }
  )

  check(
    'an ephemeral publication reaches followers and is not stored, except for its idempotency key',
    async (t, store, followed) => {
      const idempotency = { key: 'e', fingerprint: 'f' }
      const item = publication({ users: ['ann', 'eve'] }, { ephemeral: true, idempotency })
      t.match(await store.publish([item]), [{ kind: 'accepted' }])
      t.match(await store.publish([publication(ann, { ephemeral: true, idempotency })]), [
        { kind: 'replayed', id: item.id }
      ])
      t.match(followed.events, [
        { kind: 'ephemeral', channel: 'user:ann', entry: { id: item.id, times: 0 } },
        { kind: 'ephemeral', channel: 'user:eve' }
      ])
      t.equal(store.logs[0].head, 0)
      t.equal(await store.notification(item.id), null)
      t.same(await idsOf(store), [])
    }
  )

  check(
    'a publication replaces the entry with the same key and channel, and is unread',
    async (t, store, followed) => {
      const [a, b, c] = [
        publication(ann, { key: 'k' }),
        publication({ users: ['ann', 'eve'] }, { key: 'k' }),
        publication(ann, { key: 'k' })
      ]
      await store.publish([a])
      await store.mark('ann', 'read', { ids: [a.id], allows: none })
      await store.publish([b])
      t.match(followed.events.slice(2), [
        { op: 'updated', channel: 'user:ann', entry: { times: 1, replaces: a.id } },
        { op: 'created', channel: 'user:eve', entry: { times: 0 } }
      ])
      t.equal(await store.notification(a.id), null)
      t.same(
        await store.counts('ann', scope),
        { unread: 1, unseen: 1 },
        'the replacement is unread'
      )
      await store.publish([c, publication({ topic: 'news' }, { key: 'k' })])
      t.match(followed.events[4], { op: 'updated', entry: { times: 2, replaces: b.id } })
      t.match(followed.events[5], { op: 'created', channel: 'topic:news' })
      t.ok(await store.notification(b.id), 'eve still has it')
      t.equal((await idsOf(store)).length, 2)
      t.match((await page(store, 0)).events, [
        { op: 'read' },
        { op: 'updated', entry: { id: c.id, times: 2, replaces: b.id } },
        { op: 'created' }
      ])
    }
  )

  check(
    'an expired entry is not replaced: the new one counts as created',
    async (t, store, followed) => {
      const { expiresAt } = await publishExpiring(store, ann, { key: 'k' })
      await clockPast(expiresAt)
      await store.publish([publication(ann, { key: 'k' })])
      const created = followed.events.filter((event) => event.kind === 'notification')
      t.match(created[1], { op: 'created', entry: { times: 0 } })
    }
  )

  check(
    'readers never see an expired entry, and followers receive `dropped`',
    async (t, store, followed) => {
      await store.publish([publication(ann)])
      const { id, expiresAt, found } = await publishExpiring(
        store,
        { topic: 'news' },
        {},
        async (id) => [
          (await store.notification(id))?.expiresAt,
          (await store.counts('ann', scope)).unread
        ]
      )
      t.same(found, [expiresAt, 2])
      await clockPast(expiresAt)
      t.equal((await store.counts('ann', scope)).unread, 1)
      t.equal((await idsOf(store)).length, 1)
      t.equal((await page(store, 0)).events.length, 1)
      t.equal(await store.notification(id), null)
      t.equal(await store.recall(id), false)
      await followed.until((event) => event.kind === 'dropped' && event.channel === 'topic:news')
    }
  )

  check(
    'a recall removes the notification for every recipient, once',
    async (t, store, followed) => {
      const item = publication({ users: ['ann', 'eve'] })
      await store.publish([item])
      t.equal(await store.recall(item.id), true)
      t.equal(await store.recall(item.id), false)
      t.same(followed.events.slice(2), [
        { kind: 'state', op: 'removed', channel: 'user:ann', seq: 3, ids: [item.id], upTo: null },
        { kind: 'state', op: 'removed', channel: 'user:eve', seq: 4, ids: [item.id], upTo: null }
      ])
      t.same((await page(store, 0)).events, [followed.events[2]])
      t.same(await store.counts('ann', scope), { unread: 0, unseen: 0 })
    }
  )

  check(
    'a recall by key removes the live notification with the key from that channel alone, once',
    async (t, store, followed) => {
      const key = { key: 'k' }
      const [old, both, other, news, all] = [
        publication(ann, key),
        publication({ users: ['ann', 'eve'] }, key),
        publication(ann, { key: 'other' }),
        publication({ topic: 'news' }, key),
        publication({ everyone: true }, key)
      ]
      for (const item of [old, both, other, news, all]) await store.publish([item])
      t.equal(await store.recallKey('user:ann', 'nothing'), false)
      t.equal(await store.recallKey('user:nobody', 'k'), false)
      t.equal(await store.recallKey('topic:old', 'k'), false)
      const before = followed.events.length
      t.equal(await store.recallKey('user:ann', 'k'), true)
      t.equal(await store.recallKey('user:ann', 'k'), false, 'it is gone')
      t.match(followed.events.slice(before), [
        { kind: 'state', op: 'removed', channel: 'user:ann', ids: [both.id], upTo: null }
      ])
      t.same(await idsOf(store), [all.id, news.id, other.id])
      t.ok(await store.notification(both.id), 'the other recipient keeps it')
      t.match((await store.details(both.id))?.entries, [{ channel: 'user:eve' }])
      t.equal(await store.recallKey('user:eve', 'k'), true)
      t.equal(await store.notification(both.id), null)
      t.equal(await store.recallKey('topic:news', 'k'), true)
      t.equal(await store.recallKey('topic:news', 'k'), false)
      t.same(await idsOf(store), [all.id, other.id])
      t.equal(await store.recallKey('everyone', 'k'), true)
      t.equal(await store.recallKey('everyone', 'k'), false)
      t.same(await idsOf(store), [other.id])
      t.same(await store.counts('ann', scope), { unread: 1, unseen: 1 })
      const again = publication(ann, key)
      await store.publish([again])
      t.match(
        followed.events.at(-1),
        { op: 'created', channel: 'user:ann', entry: { id: again.id, times: 0 } },
        'the key is free'
      )
      t.match((await page(store, 0)).events.at(-1), { entry: { id: again.id } })
    }
  )

  check(
    'a recall by key finds nothing that has expired, and tells a client that missed a replacement',
    async (t, store) => {
      const { expiresAt } = await publishExpiring(store, ann, { key: 'short' })
      await clockPast(expiresAt)
      t.equal(await store.recallKey('user:ann', 'short'), false)
      const [first, second] = [publication(ann, { key: 'k' }), publication(ann, { key: 'k' })]
      await store.publish([first])
      const { head } = store.logs[0]
      await store.publish([second])
      t.equal(await store.recallKey('user:ann', 'k'), true)
      t.match((await page(store, head)).events, [
        { kind: 'state', op: 'removed', ids: [first.id] },
        { kind: 'state', op: 'removed', ids: [second.id] }
      ])
    }
  )

  check(
    'a mark by ids changes only entries the user may read, each once',
    async (t, store, followed) => {
      const items = [
        publication(ann),
        publication({ topic: 'news' }),
        publication({ user: 'eve' }),
        publication({ everyone: true })
      ]
      await store.publish(items)
      const ids = items.map(({ id }) => id)
      t.same(
        await store.mark('ann', 'read', {
          ids: [...ids, 'nothing', ids[0]!],
          allows: (channel: Channel) => channel === 'topic:news'
        }),
        { affected: 2, seq: 7 }
      )
      t.same(followed.events[4], {
        kind: 'state',
        op: 'read',
        channel: 'user:ann',
        seq: 7,
        ids: [ids[0], ids[1]],
        upTo: null
      })
      t.same(
        await store.mark('ann', 'read', { ids, allows: none }),
        { affected: 0, seq: 7 },
        'a second mark changes nothing'
      )
      t.same(await store.counts('ann', scope), { unread: 1, unseen: 1 })
      t.same(
        await store.counts('eve', scopeOf('eve', ['news'])),
        { unread: 3, unseen: 3 },
        'other users’ counts stay'
      )
      t.equal((await store.mark('ann', 'unread', { ids: [ids[0]!], allows: none })).affected, 1)
      t.same(
        await store.counts('ann', scope),
        { unread: 2, unseen: 1 },
        'an entry marked unread stays seen'
      )
      t.equal(
        (await store.mark('ann', 'archived', { ids, allows: every })).affected,
        3,
        'eve’s own entry is not marked'
      )
    }
  )

  check('an archived entry is in no count and cannot be unarchived', async (t, store) => {
    const [a, b] = [publication(ann), publication(ann)]
    await store.publish([a, b])
    await store.mark('ann', 'archived', { ids: [a.id], allows: none })
    t.same(await store.counts('ann', scope), { unread: 1, unseen: 1 })
    t.same(
      [await idsOf(store), await idsOf(store, 'unread'), await idsOf(store, 'archived')],
      [[b.id], [b.id], [a.id]]
    )
    t.equal((await store.mark('ann', 'unread', { ids: [a.id], allows: none })).affected, 0)
    const { items } = await store.inbox('ann', scope, { status: 'archived', limit: 5 })
    t.same(items[0]?.marks, { readAt: null, seen: true, archived: true })
  })

  check(
    'a mark up to a seq changes every entry of the scope up to it',
    async (t, store, followed) => {
      await store.publish([
        publication(ann),
        publication({ topic: 'news' }),
        publication({ topic: 'other' }),
        publication({ everyone: true })
      ])
      t.same(await store.mark('ann', 'seen', { upTo: 6, scope }), { affected: 3, seq: 8 })
      t.same(followed.events[4], {
        kind: 'state',
        op: 'seen',
        channel: 'user:ann',
        seq: 8,
        ids: null,
        upTo: 6
      })
      t.same(await store.counts('ann', scope), { unread: 3, unseen: 0 })
      t.same(await store.mark('ann', 'seen', { upTo: 8, scope }), { affected: 0, seq: 8 })
      t.equal((await store.mark('ann', 'read', { upTo: 2, scope })).affected, 2)
      t.same(await store.counts('ann', scope), { unread: 1, unseen: 0 })
      const { items } = await store.inbox('ann', scope, { status: 'all', limit: 5 })
      t.same(
        items.map(({ marks }) => marks.readAt !== null),
        [false, true, true]
      )
      t.match(
        (await page(store, 0)).events[1],
        { marks: { seen: true, archived: false } },
        'a replay has the present marks'
      )
    }
  )

  check(
    'a mark or erasure of thousands of entries makes one event and does not delay other commands',
    async (t, store, followed) => {
      const many = (to: Recipients, n: number) =>
        store.publish(Array.from({ length: n }, () => publication(to)))
      await Promise.all([many(ann, 2600), many({ topic: 'news' }, 2600)])
      const order: string[] = []
      const note = (name: string) => () => order.push(name)
      const { head } = store.logs[0]
      const marking = store.mark('ann', 'read', { upTo: head, scope })
      await Promise.all([
        marking.then(note('mark')),
        store.putTicket('h', { user: 'eve', topics: [] }, Date.now() + 10_000).then(note('ticket'))
      ])
      t.same(await marking, { affected: 5200, seq: head + 1 })
      t.same(await store.counts('ann', scope), { unread: 0, unseen: 0 })
      t.same(followed.events.slice(5200), [
        { kind: 'state', op: 'read', channel: 'user:ann', seq: head + 1, ids: null, upTo: head }
      ])
      await Promise.all([
        store.erase('ann').then(note('erase')),
        store.takeTicket('h').then(note('ticket'))
      ])
      if (store.kind !== 'memory') t.same(order, ['ticket', 'mark', 'ticket', 'erase'])
      t.same(
        await store.counts('ann', scope),
        { unread: 2600, unseen: 2600 },
        'shared entries are unread again'
      )
      t.match(followed.events.slice(5201), [
        { op: 'removed', channel: 'user:ann', ids: null, upTo: head + 1, seq: head + 2 }
      ])
      t.same(await store.read('ann', scope, head - 1, 10), { gap: true })
    },
    { retentionPerChannel: 0 }
  )

  check(
    'erasing a user removes their entries, marks and tickets, and nothing of other users',
    async (t, store, followed) => {
      const shared = publication({ topic: 'news' })
      const both = publication({ users: ['ann', 'eve'] })
      await store.publish([publication(ann), shared, both])
      await store.putTicket('h', { user: 'ann', topics: [] }, Date.now() + 10_000)
      await store.mark('ann', 'read', { upTo: 4, scope })
      const { head } = store.logs[0]
      await store.erase('ann')
      t.same(followed.events.at(-1), {
        kind: 'state',
        op: 'removed',
        channel: 'user:ann',
        seq: head + 1,
        ids: null,
        upTo: head
      })
      t.same(await idsOf(store), [shared.id])
      t.same(
        await store.counts('ann', scope),
        { unread: 1, unseen: 1 },
        'shared entries are unread again'
      )
      t.equal((await store.counts('eve', scopeOf('eve', []))).unread, 1)
      t.equal(await store.takeTicket('h'), null)
      t.match((await page(store, head)).events, [{ op: 'removed', ids: null, upTo: head }])
      const [last] =
        (await store.publish([publication({ topic: 'news' })])) && followed.events.slice(-1)
      await store.erase('ann')
      t.match(
        (await page(store, (last as LoggedEvent).seq)).events,
        [{ op: 'removed', ids: null }],
        'a cursor from before the erasure gets no gap'
      )
    }
  )

  check(
    'a ticket works once until it expires, and revoking a user deletes their tickets',
    async (t, store, followed) => {
      const holder = { user: 'ann', topics: ['news', 'a*'] }
      await store.putTicket('h', holder, Date.now() + 10_000)
      t.same(await store.takeTicket('h', { keep: true }), holder)
      t.same(
        (await Promise.all([store.takeTicket('h'), store.takeTicket('h')])).filter(Boolean),
        [holder],
        'a ticket is taken once'
      )
      await store.putTicket('late', holder, Date.now())
      t.equal(await store.takeTicket('late'), null)
      await store.putTicket('mine', holder, Date.now() + 10_000)
      await store.putTicket('other', { user: 'eve', topics: [] }, Date.now() + 10_000)
      t.equal(await store.revokedAt('ann'), 0)
      const before = Date.now()
      await store.revoke('ann')
      const at = await store.revokedAt('ann')
      t.ok(at >= before && at <= Date.now())
      t.equal(await store.takeTicket('mine'), null)
      t.ok(await store.takeTicket('other'))
      t.same(followed.events, [{ kind: 'revoked', user: 'ann' }])
    }
  )

  check(
    'a channel keeps at least RETENTION_PER_CHANNEL entries and at most twice as many',
    async (t, store, followed) => {
      const newest: string[] = []
      for (let i = 0; i < 40; i += 1) {
        const items = [publication({ topic: 'news' }), publication({ topic: 'news' })]
        newest.push(...items.map(({ id }) => id))
        await store.publish(items)
        await store.mark('ann', 'read', { upTo: store.logs[0].head, scope })
      }
      await followed.until((event) => event.kind === 'dropped' && event.channel === 'topic:news')
      const kept = await idsOf(store)
      t.ok(kept.length >= 10 && kept.length <= 20, `${kept.length} kept`)
      t.same(kept, newest.reverse().slice(0, kept.length))
      t.same(await store.read('ann', scope, 0, 10), { gap: true })
      t.notOk('gap' in (await store.read('ann', scope, store.logs[0].head, 10)))
      t.notOk(
        'gap' in (await store.read('eve', scopeOf('eve', []), 0, 10)),
        'a channel that lost no entry has no gap'
      )
    },
    { retentionPerChannel: 10 }
  )

  check('simultaneous publishes get consecutive seqs in one order', async (t, store, followed) => {
    const outcomes = await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        store.publish([publication({ user: i % 3 ? 'ann' : 'eve' })])
      )
    )
    t.equal(outcomes.flat().filter(({ kind }) => kind === 'accepted').length, 200)
    t.same(
      (followed.events as LoggedEvent[]).map(({ seq }) => seq),
      Array.from({ length: 200 }, (_, i) => i + 1)
    )
  })

  check('after close, calls fail as unavailable, and a second close resolves', async (t, store) => {
    await store.close()
    await t.rejects(store.publish([publication(ann)]), { name: 'StoreError', kind: 'unavailable' })
    await t.rejects(store.counts('ann', scope), { name: 'StoreError', kind: 'unavailable' })
    await t.resolves(store.close(), 'a second close does nothing')
  })
}
