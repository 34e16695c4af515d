import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { scopeOf } from '../../src/log/channel.ts'
import type { Store } from '../../src/log/store.ts'
import { openDatabase } from '../../src/stores/sqlite/driver.ts'
import { BARE_NODE } from '../fixtures/bare-node.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import { openStore, StoreOpenError } from './built.ts'
import { edit } from './sqlite-fixtures.ts'
import { publication, storeOptions } from './store-fixtures.ts'

const scope = scopeOf('ann', [])
const put = (store: Store, n = 1) =>
  store.publish(Array.from({ length: n }, () => publication({ user: 'ann' })))
const unread = async (store: Store): Promise<number> => (await store.counts('ann', scope)).unread

t.test('a data directory opens for one process at a time, and again after close', async (t) => {
  const options = storeOptions(tempDir(t))
  const store = await openStore(options)
  await t.rejects(openStore(options), {
    name: 'StoreOpenError',
    message: /bellwire\.lock: another process/
  })
  await store.close()
  await (await openStore(options)).close()
})

t.test(
  'a foreign, damaged or newer database file is refused with a message that names it',
  async (t) => {
    const refused = async (
      name: string,
      make: (path: string) => void,
      message: RegExp
    ): Promise<void> => {
      const dataDir = tempDir(t)
      const path = join(dataDir, 'bellwire.db')
      make(path)
      const error = await openStore(storeOptions(dataDir)).then(
        () => t.fail(`${name} was opened`),
        (error: unknown) => error
      )
      t.ok(error instanceof StoreOpenError, name)
      t.match((error as Error).message, message)
      t.ok(
        (error as Error).message.includes(path) && !(error as Error).message.includes('\n'),
        'one line, with the path of the file'
      )
    }
    await refused(
      'text',
      (path) =>
        writeFileSync(path, 'not a database, but longer than its header would be. '.repeat(20)),
      /not a Bellwire database/
    )
    const change = (path: string, sql: string): void => {
      const db = openDatabase(path)
      db.exec(sql)
      db.close()
    }
    await refused(
      'another program’s',
      (path) => change(path, 'CREATE TABLE a (b)'),
      /not a Bellwire database/
    )
    const made = tempDir(t)
    const store = await openStore(storeOptions(made))
    for (let i = 0; i < 20; i += 1) await put(store, 20)
    await store.close()
    const ours = join(made, 'bellwire.db')
    await refused(
      'newer',
      (path) => {
        copyFileSync(ours, path)
        change(path, "UPDATE meta SET v = 99 WHERE k = 'schema'")
      },
      /newer version/
    )
    await refused(
      'damaged',
      (path) => {
        copyFileSync(ours, path)
        truncateSync(path, Math.floor(statSync(path).size / 2 / 4096) * 4096)
      },
      /damaged/
    )
    writeFileSync(join(made, 'file'), '')
    await t.rejects(openStore(storeOptions(join(made, 'file'))), { name: 'StoreOpenError' })
  }
)

t.test('a file of the previous version is migrated and keeps its counts and lists', async (t) => {
  const dataDir = tempDir(t)
  const topics = ['a', 'b', 'c']
  const channels = scopeOf('ann', topics)
  let store = await openStore(storeOptions(dataDir))
  const published: string[] = []
  for (let n = 0; n < 30; n++) {
    const item = publication(
      n % 4 === 3 ? { user: 'ann' } : { topic: topics[n % 4]! },
      n % 10 === 0 ? { key: 'k' } : {}
    )
    published.push(item.id)
    await store.publish([item])
  }
  const ids = (...nths: number[]) => ({ ids: nths.map((n) => published[n]!), allows: () => true })
  await store.mark('ann', 'read', { upTo: 15, scope: channels })
  await store.mark('ann', 'unread', ids(5))
  await store.mark('ann', 'archived', ids(1, 20))
  await store.mark('ann', 'seen', { upTo: 25, scope: channels })
  await store.mark('bob', 'archived', { upTo: 30, scope: channels })
  const look = async () => {
    const views = []
    for (const user of ['ann', 'bob', 'cid'])
      for (const status of ['all', 'unread', 'archived'] as const)
        views.push(await store.inbox(user, scopeOf(user, topics), { status, limit: 100 }))
    return views
  }
  const before = await look()
  await store.close()
  edit(
    dataDir,
    `DROP TABLE fence; DROP TABLE past_epoch; DROP TABLE size; DROP TABLE reach; DROP INDEX mark_done; DROP INDEX mark_archived;
     ALTER TABLE floor DROP COLUMN dropped; UPDATE meta SET v = 2 WHERE k = 'schema'`
  )
  store = await openStore(storeOptions(dataDir))
  t.teardown(() => store.close())
  t.same(await look(), before)
})

t.test('kill -9 loses no acknowledged notification and keeps the epoch', async (t) => {
  const dataDir = tempDir(t)
  const acked = new Set<string>()
  const epochs = new Set<string>()
  for (let round = 1; round <= 3; round += 1) {
    const script = fileURLToPath(new URL('./publish-until-killed.ts', import.meta.url))
    const child = spawn(BARE_NODE[0], [...BARE_NODE.slice(1), '--import', 'tsx', script, dataDir], {
      stdio: ['ignore', 'pipe', 'inherit']
    })
    let text = ''
    const enough = round * 150
    child.stdout.on('data', (bytes: Buffer) => {
      text += bytes
      if (text.length > enough * 20) child.kill('SIGKILL')
    })
    await once(child, 'close')
    for (const line of text.split('\n').slice(0, -1)) {
      if (line.startsWith('acked ')) acked.add(line.slice(6))
      else epochs.add(line.slice(6))
    }
  }
  const store = await openStore(storeOptions(dataDir))
  t.teardown(() => store.close())
  epochs.add(store.logs[0].epoch)
  t.equal(epochs.size, 1, 'the epoch is kept')
  for (const id of acked) if (!(await store.notification(id))) t.fail(`${id} was lost`)
  t.ok(acked.size > 100, `${acked.size} acknowledged`)
  const { head } = store.logs[0]
  await put(store)
  t.ok(store.logs[0].head > head)
})

t.test(
  'a torn WAL keeps the epoch; an old copy or a missing state file gets a new one',
  async (t) => {
    const dataDir = tempDir(t)
    const path = join(dataDir, 'bellwire.db')
    const options = storeOptions(dataDir)
    let store = await openStore(options)
    await put(store, 5)
    const old = join(dataDir, 'copy')
    const wal = join(dataDir, 'wal')
    copyFileSync(`${path}-wal`, wal)
    await store.close()
    const { epoch } = store.logs[0]
    copyFileSync(path, old)

    const reopen = async (): Promise<Store> => {
      store = await openStore(options)
      await store.close()
      return store
    }
    writeFileSync(`${path}-wal`, '')
    appendFileSync(`${path}-wal`, 'garbage'.repeat(1000))
    t.equal((await reopen()).logs[0].epoch, epoch, 'garbage in the WAL is ignored')

    store = await openStore(options)
    t.equal(await unread(store), 5)
    await put(store, 3)
    await store.close()
    copyFileSync(old, path)
    t.not((await reopen()).logs[0].epoch, epoch, 'an old copy starts a new epoch')
    store = await openStore(options)
    t.equal(await unread(store), 5, 'the data of the copy is kept')
    await store.close()
    const second = store.logs[0].epoch
    rmSync(join(dataDir, 'bellwire.life'))
    t.not((await reopen()).logs[0].epoch, second, 'a missing state file starts a new epoch')
  }
)

t.test('a full disk rejects writes, and accepts them again once there is room', async (t) => {
  const dataDir = tempDir(t)
  try {
    mkdirSync(dataDir, { recursive: true })
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', dataDir], { stdio: 'ignore' })
  } catch {
    return void t.pass('the disk is full', { skip: 'mounting a small file system needs root' })
  }
  t.teardown(() => execFileSync('umount', ['-l', dataDir]))
  const store = await openStore(storeOptions(dataDir))
  t.teardown(() => store.close())
  await put(store)
  const ballast = join(dataDir, 'ballast')
  try {
    for (;;) appendFileSync(ballast, Buffer.alloc(64 * 1024))
  } catch {
    // The disk is full.
  }
  let acked = 1
  const error = await (async () => {
    for (;;) {
      await put(store, 50)
      acked += 50
    }
  })().catch((error: unknown) => error)
  t.match(error, { name: 'StoreError', kind: 'full' })
  t.notOk(store.status().healthy)
  t.equal(await unread(store), Math.min(acked, 1000), 'reading still works')
  truncateSync(ballast, statSync(ballast).size - 512 * 1024)
  const content = `"type":"t","level":"info","body":"${'x'.repeat(14_000)}"`
  const [large, small] = await Promise.allSettled([
    store.publish(Array.from({ length: 200 }, () => publication({ user: 'eve' }, { content }))),
    put(store)
  ])
  t.match(
    [large, small],
    [{ status: 'rejected', reason: { kind: 'full' } }, { status: 'fulfilled' }],
    'a smaller request that fits is accepted'
  )
  acked++
  rmSync(ballast)
  await put(store)
  t.ok(store.status().healthy)
  t.equal(await unread(store), acked + 1)
  t.equal(store.logs[0].head, acked + 1, 'no seq was skipped or used twice')
})
