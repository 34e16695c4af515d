import { statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { WAL_BYTES } from '../../src/bounds/limits.ts'
import { scopeOf } from '../../src/log/channel.ts'
import type { Publication } from '../../src/log/notification.ts'
import type { Store } from '../../src/log/store.ts'
import { SqliteArchiveSource } from '../../src/stores/sqlite/archive-source.ts'
import { openDatabase } from '../../src/stores/sqlite/driver.ts'
import type { StoreOptions } from '../../src/stores/store-options.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import { openStore } from './built.ts'
import { countOf, DAY_MS, edit, rows, settled } from './sqlite-fixtures.ts'
import { publication, storeOptions } from './store-fixtures.ts'

const ann = { user: 'ann' }
const news = { topic: 'news' }
const scope = scopeOf('ann', ['news'])
const none = () => false
/** More than two slices of retention. */
const MANY = 1200
const many = (n: number, make: (i: number) => Publication): Publication[] =>
  Array.from({ length: n }, (_, i) => make(i))
const toNews = () => publication(news)

/** Fills a store without retention, and closes it. */
async function filled(dataDir: string, work: (store: Store) => Promise<unknown>): Promise<void> {
  const store = await openStore(storeOptions(dataDir, { retentionDays: 0, retentionPerChannel: 0 }))
  await work(store)
  await store.close()
}

async function opened(
  t: Test,
  dataDir: string,
  options: Partial<StoreOptions> = {}
): Promise<Store> {
  const store = await openStore(storeOptions(dataDir, options))
  t.teardown(() => store.close())
  return store
}

const idsOf = async (store: Store): Promise<string[]> =>
  (await store.inbox('ann', scope, { status: 'all', limit: 100 })).items.map(
    ({ entry }) => entry.id
  )

t.test('notifications older than RETENTION_DAYS are removed, and younger ones stay', async (t) => {
  const dataDir = tempDir(t)
  const old = many(MANY, toNews)
  const young = [publication(ann), toNews(), publication({ everyone: true })]
  await filled(dataDir, async (store) => {
    await store.publish(old)
    await store.mark('ann', 'seen', { upTo: 2 * MANY, scope })
    await store.publish(young)
    await store.mark('ann', 'read', { ids: [young[0]!.id], allows: none })
  })
  // A shared event takes two seqs.
  const lastOld = 2 * MANY + 1
  edit(dataDir, `UPDATE note SET at = at - ${31 * DAY_MS} WHERE seq <= ${lastOld}`)
  edit(dataDir, `UPDATE state SET at = at - ${31 * DAY_MS} WHERE seq <= ${lastOld}`)
  edit(dataDir, `UPDATE note SET at = at - ${29 * DAY_MS} WHERE seq > ${lastOld}`)

  const store = await opened(t, dataDir, { retentionPerChannel: 0 })
  const left = (): unknown =>
    ['note', 'entry', 'state'].map((table) => countOf(dataDir, table)).join()
  t.equal(
    await settled(left, (found) => found === '3,3,1'),
    '3,3,1',
    'remaining notifications, entries and events'
  )
  t.equal(
    await settled(
      () => store.logs[0].oldest,
      (found) => found === lastOld
    ),
    lastOld
  )
  for (const after of [0, lastOld - 1])
    t.same(await store.read('ann', scope, after, 10), { gap: true }, `after ${after}`)
  t.match(await store.read('ann', scope, lastOld, 10), {
    events: [...young.map(({ id }) => ({ entry: { id } })), { op: 'read', ids: [young[0]!.id] }],
    upTo: store.logs[0].head,
    more: false
  })
  t.same(await idsOf(store), young.map(({ id }) => id).reverse())
  t.same(await store.counts('ann', scope), { unread: 2, unseen: 2 })
  t.equal(await store.notification(old.at(-1)!.id), null)
  t.match(await store.notification(young[0]!.id), { id: young[0]!.id })
})

t.test('RETENTION_DAYS=0 keeps notifications of any age', async (t) => {
  const dataDir = tempDir(t)
  await filled(dataDir, (store) => store.publish(many(3, toNews)))
  edit(
    dataDir,
    `UPDATE note SET at = at - ${5000 * DAY_MS}; INSERT INTO mark VALUES ('ann', 'topic:gone', 1, 1, NULL)`
  )
  const store = await opened(t, dataDir, { retentionDays: 0 })
  // A retention round removes by age before it sweeps marks.
  t.equal(
    await settled(
      () => countOf(dataDir, 'mark'),
      (found) => found === 0
    ),
    0
  )
  t.equal((await idsOf(store)).length, 3)
  t.equal(store.logs[0].oldest, 0)
})

t.test(
  'a burst into one channel leaves its newest entries, and other channels lose none',
  async (t) => {
    const dataDir = tempDir(t)
    const store = await opened(t, dataDir, { retentionPerChannel: 10 })
    const own = many(10, () => publication(ann))
    const burst = many(3 * MANY, toNews)
    await store.publish(own)
    for (let at = 0; at < burst.length; at += 600) await store.publish(burst.slice(at, at + 600))
    for (let i = 0; i < 40; i += 1)
      await store.mark('ann', i % 2 ? 'unread' : 'read', { ids: [own[0]!.id], allows: none })
    const inTable = (table: string, channel: string) => () =>
      countOf(dataDir, `${table} WHERE channel = '${channel}'`)
    const entries = await settled(inTable('entry', 'topic:news'), (found) => found <= 20)
    t.ok(entries >= 10 && entries <= 20, `${entries} entries kept`)
    const states = await settled(inTable('state', 'user:ann'), (found) => found <= 20)
    t.ok(states >= 10 && states <= 20, `${states} events kept`)
    t.equal(
      countOf(dataDir, 'note'),
      entries + own.length,
      'the content of removed entries is removed'
    )
    const newest = burst.slice(-entries).map(({ id }) => id)
    t.same(await idsOf(store), [...own.map(({ id }) => id), ...newest].reverse())
    const page = await store.inbox('bob', scopeOf('bob', ['news']), { status: 'all', limit: 100 })
    const firstKept = page.items.at(-1)!.entry.seq
    const reader = scopeOf('bob', ['news'])
    t.same(await store.read('bob', reader, firstKept - 4, 100), { gap: true })
    t.match(await store.read('bob', reader, firstKept - 1, 100), {
      events: newest.map((id) => ({ entry: { id } }))
    })
  }
)

t.test('a lowered RETENTION_PER_CHANNEL also trims channels that get no new entries', async (t) => {
  const dataDir = tempDir(t)
  const items = many(50, toNews)
  await filled(dataDir, async (store) => {
    await store.publish(items)
    for (let i = 0; i < 50; i += 1)
      await store.mark('ann', i % 2 ? 'unread' : 'read', { upTo: 50, scope })
  })
  const store = await opened(t, dataDir, { retentionPerChannel: 10 })
  const most = (): number => Math.max(countOf(dataDir, 'entry'), countOf(dataDir, 'state'))
  const found = await settled(most, (found) => found <= 20)
  t.ok(found <= 20, `${found} kept, 20 allowed`)
  t.ok(countOf(dataDir, 'entry') >= 10 && countOf(dataDir, 'state') >= 10, 'at least 10 stay')
  const kept = await idsOf(store)
  t.same(
    kept,
    items
      .slice(-kept.length)
      .map(({ id }) => id)
      .reverse(),
    'the newest stay'
  )
})

t.test('marks of removed entries are swept, and all others stay', async (t) => {
  const dataDir = tempDir(t)
  const items = [toNews(), toNews(), toNews(), publication(news, { key: 'k' })]
  await filled(dataDir, async (store) => {
    await store.publish(items)
    await store.mark('ann', 'read', { upTo: 8, scope })
    await store.mark('bob', 'archived', { upTo: 8, scope: scopeOf('bob', ['news']) })
    await store.recall(items[1]!.id)
    await store.publish([publication(news, { key: 'k' })])
  })
  edit(
    dataDir,
    `INSERT INTO mark WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${MANY})
     SELECT 'ann', 'topic:gone', i, 3, 0 FROM n`
  )
  const store = await opened(t, dataDir)
  t.equal(
    await settled(
      () => countOf(dataDir, 'mark'),
      (found) => found === 4
    ),
    4
  )
  t.same(
    rows(dataDir, 'SELECT user, seq FROM mark ORDER BY user, seq').map((row) => ({ ...row })),
    ['ann', 'bob'].flatMap((user) => [1, 5].map((seq) => ({ user, seq })))
  )
  t.same(await store.counts('ann', scope), { unread: 1, unseen: 1 })
  const archived = await store.inbox('bob', scopeOf('bob', ['news']), {
    status: 'archived',
    limit: 10
  })
  t.same(
    archived.items.map(({ entry }) => entry.id),
    [items[2]!.id, items[0]!.id]
  )
})

t.test('idempotency keys are removed after 24 hours, and tickets when they expire', async (t) => {
  const dataDir = tempDir(t)
  const keyed = (key: string) => publication(ann, { idempotency: { key, fingerprint: 'f' } })
  const young = keyed('young')
  await filled(dataDir, async (store) => {
    await store.publish([...many(MANY, (i) => keyed(`old${i}`)), young])
    await store.putTicket('used up', { user: 'ann', topics: [] }, Date.now() + 30_000)
    await store.putTicket('good', { user: 'ann', topics: [] }, Date.now() + 30_000)
  })
  edit(dataDir, `UPDATE idem SET exp = exp - ${DAY_MS} + (key = 'young') * 60000`)
  edit(dataDir, "UPDATE ticket SET exp = 0 WHERE hash = 'used up'")
  const store = await opened(t, dataDir, { retentionPerChannel: 0 })
  t.equal(
    await settled(
      () => countOf(dataDir, 'idem'),
      (found) => found === 1
    ),
    1
  )
  t.equal(
    await settled(
      () => countOf(dataDir, 'ticket'),
      (found) => found === 1
    ),
    1
  )
  const [again, old] = await store.publish([keyed('young'), keyed('old7')])
  t.match(again, { kind: 'replayed', id: young.id }, 'the key has a minute left')
  t.match(old, { kind: 'accepted' })
  t.ok(await store.takeTicket('good'))
})

t.test(
  'entries that expired while the store was closed are removed with their marks, and cursors get no gap',
  async (t) => {
    const dataDir = tempDir(t)
    const stays = [toNews(), publication(ann, { expiresAt: Date.now() + DAY_MS })]
    await filled(dataDir, async (store) => {
      const expiresAt = Date.now() + DAY_MS / 2
      await store.publish([
        stays[0]!,
        ...many(MANY, (i) => publication(i % 2 ? news : ann, { expiresAt })),
        stays[1]!
      ])
      await store.mark('ann', 'seen', { upTo: 600, scope })
    })
    for (const table of ['note', 'entry'])
      edit(dataDir, `UPDATE ${table} SET exp = 1 WHERE exp < ${Date.now() + 0.75 * DAY_MS}`)
    const store = await opened(t, dataDir, { retentionPerChannel: 0 })
    const left = (): unknown =>
      ['note', 'entry', 'mark'].map((table) => countOf(dataDir, table)).join()
    t.equal(
      await settled(left, (found) => found === '2,2,1'),
      '2,2,1',
      'remaining notifications, entries and marks'
    )
    t.same(await idsOf(store), stays.map(({ id }) => id).reverse())
    t.same(await store.counts('ann', scope), { unread: 2, unseen: 1 })
    t.match(await store.read('ann', scope, 0, 10), {
      events: [{ seq: 1 }, { seq: 1.5 * MANY + 3 }, { op: 'seen' }]
    })
  }
)

t.test(
  'the WAL stays bounded during an export, and shrinks again after another process has read',
  async (t) => {
    const dataDir = tempDir(t)
    const store = await openStore(storeOptions(dataDir, { sync: 'normal', retentionPerChannel: 0 }))
    t.teardown(() => store.close())
    const content = `"type":"t","level":"info","body":"${'x'.repeat(16_000)}"`
    const write = async (megabytes: number): Promise<void> => {
      for (let n = 0; n < megabytes; n++)
        await store.publish(
          Array.from({ length: 62 }, () => publication({ user: 'ann' }, { content }))
        )
    }
    const logBytes = (): number => statSync(join(dataDir, 'bellwire.db-wal')).size
    await write(2)
    const source = new SqliteArchiveSource(dataDir)
    const records = source.records()
    await records.next()
    await write(60)
    t.ok(logBytes() < WAL_BYTES, `${logBytes()} bytes while an export is read`)
    let exported = 1
    for await (const { kind } of records) if (kind === 'notification') exported++
    t.equal(exported, 2 * 62, 'the export has what was there when it began')
    await source.close()
    const reader = openDatabase(join(dataDir, 'bellwire.db'), { readOnly: true })
    reader.exec('BEGIN')
    reader.prepare('SELECT count(*) FROM note').get()
    await write(60)
    t.ok(logBytes() > WAL_BYTES, `${logBytes()} bytes while another process reads`)
    // Without COMMIT the transaction stays open until its statement is collected.
    reader.exec('COMMIT')
    reader.close()
    // A later commit repeats the checkpoint that the reader blocked.
    for (let tries = 0; tries < 30 && logBytes() > WAL_BYTES; tries++) await write(1)
    t.ok(logBytes() <= WAL_BYTES, `${logBytes()} bytes after it`)
  }
)
