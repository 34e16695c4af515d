import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { MAX_PENDING_COMMANDS } from '../../src/bounds/limits.ts'
import { scopeOf } from '../../src/log/channel.ts'
import type { Store } from '../../src/log/store.ts'
import { BARE_NODE } from '../fixtures/bare-node.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import { openStore, StoreOpenError } from './built.ts'
import { publication, storeOptions } from './store-fixtures.ts'

const scope = scopeOf('ann', [])
const refused = { name: 'StoreError', kind: 'unavailable' }
const put = (store: Store) => store.publish([publication({ user: 'ann' })])
const puts = (store: Store, n: number) => Array.from({ length: n }, () => put(store))

/** A store and its writer thread, which Node reports with the event `worker`. */
async function openWithWorker(dataDir: string): Promise<{ store: Store; worker: Worker }> {
  const started: Worker[] = []
  const note = (worker: Worker): unknown => started.push(worker)
  process.on('worker', note)
  const store = await openStore(storeOptions(dataDir))
  process.off('worker', note)
  // Earlier threads may be those of a loader.
  return { store, worker: started.at(-1)! }
}

/**
 * The store reports that it rejects writes, still reads, closes, and opens again with exactly the
 * five notifications that it acknowledged.
 */
async function afterwards(t: Test, dataDir: string, store: Store): Promise<void> {
  const { healthy, reason } = store.status()
  t.notOk(healthy)
  t.ok(reason)
  await t.rejects(put(store), refused, 'later writes fail')
  await t.rejects(store.revoke('ann'), refused)
  t.same(await store.counts('ann', scope), { unread: 5, unseen: 5 }, 'reading still works')
  await store.close()
  const again = await openStore(storeOptions(dataDir))
  t.teardown(() => again.close())
  t.equal(again.logs[0].epoch, store.logs[0].epoch)
  t.same(await again.counts('ann', scope), { unread: 5, unseen: 5 })
  await put(again)
  t.ok(again.logs[0].head > 6)
  t.ok(again.status().healthy)
}

// Not with `terminate`: during a call into SQLite that would abort the whole process.
t.test(
  'after the writer thread ends, writes fail, reads work, and the data opens again',
  async (t) => {
    const dataDir = tempDir(t)
    const { store, worker } = await openWithWorker(dataDir)
    await Promise.all(puts(store, 5))
    worker.postMessage('close')
    await once(worker, 'exit')
    const outcomes = await Promise.allSettled(puts(store, 20))
    for (const outcome of outcomes) t.match(outcome, { status: 'rejected', reason: refused })
    await afterwards(t, dataDir, store)
  }
)

t.test('if the writer thread throws, pending writes fail with its reason', async (t) => {
  const dataDir = tempDir(t)
  const { store, worker } = await openWithWorker(dataDir)
  await Promise.all(puts(store, 5))
  worker.postMessage(null)
  const outcomes = await Promise.allSettled(puts(store, 3))
  for (const outcome of outcomes) t.match(outcome, { status: 'rejected', reason: refused })
  t.match(store.status().reason, /null/, 'the status has the reason')
  await afterwards(t, dataDir, store)
})

t.test(
  'if the writer thread ends during close, pending writes fail and close resolves',
  async (t) => {
    const dataDir = tempDir(t)
    const { store, worker } = await openWithWorker(dataDir)
    worker.postMessage(null)
    const pending = Promise.allSettled(puts(store, 3))
    await store.close()
    for (const outcome of await pending) t.match(outcome, { status: 'rejected', reason: refused })
    await (await openStore(storeOptions(dataDir))).close()
  }
)

t.test(
  'if the writer thread cannot start, opening fails and frees the data directory',
  async (t) => {
    const dataDir = tempDir(t)
    process.once('worker', (worker: Worker) => void worker.terminate())
    const error = await openStore(storeOptions(dataDir)).catch((error: unknown) => error)
    t.ok(error instanceof StoreOpenError)
    t.match(error, { message: /bellwire\.db: the writer could not start/ })
    const store = await openStore(storeOptions(dataDir))
    await put(store)
    t.ok(store.logs[0].head >= 1)
    await store.close()
  }
)

t.test(
  'commands beyond MAX_PENDING_COMMANDS fail, and later ones succeed once there is room',
  async (t) => {
    const store = await openStore(storeOptions(tempDir(t)))
    t.teardown(() => store.close())
    const pending = Array.from({ length: MAX_PENDING_COMMANDS - 1 }, () =>
      store.takeTicket('nothing')
    )
    const last = put(store)
    for (const over of [
      () => put(store),
      () => store.recall('nothing'),
      () => store.takeTicket('nothing')
    ]) {
      await t.rejects(over as () => Promise<unknown>, refused)
    }
    t.equal(new Set(await Promise.all(pending)).size, 1, 'earlier commands succeed')
    t.match(await last, [{ kind: 'accepted' }])
    t.match(await put(store), [{ kind: 'accepted' }])
    t.equal(store.logs[0].head, 2, 'rejected commands appended nothing')
    t.ok(store.status().healthy)
  }
)

t.test(
  'process.exit in a commit, or while the file closes, exits with the requested code',
  async (t) => {
    const script = fileURLToPath(new URL('./exit-at-once.ts', import.meta.url))
    const [node, ...flags] = [...BARE_NODE, '--import', 'tsx', script]
    for (const moment of ['publishing', 'closing'])
      for (let pauseMs = 1; pauseMs <= 4; pauseMs++) {
        const args = [...flags, tempDir(t), moment, String(pauseMs)]
        const child = spawn(node!, args, { stdio: ['ignore', 'inherit', 'inherit'] })
        t.strictSame(await once(child, 'exit'), [3, null], `${moment}, after ${pauseMs} ms`)
      }
  }
)
