import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { BARE_NODE } from '../fixtures/bare-node.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import { openStore } from './built.ts'
import { countOf, DAY_MS, edit, settled } from './sqlite-fixtures.ts'
import { publication, storeOptions } from './store-fixtures.ts'

const ann = { user: 'ann' }

t.test('the seq of a removed event is not used again after a restart', async (t) => {
  const options = storeOptions(tempDir(t))
  const { dataDir } = options
  const empty = (): boolean => countOf(dataDir, 'entry') + countOf(dataDir, 'state') === 0
  let last = 0
  let epoch: string | undefined
  const ways: Record<string, string> = {
    age: `UPDATE note SET at = at - ${31 * DAY_MS}; UPDATE state SET at = at - ${31 * DAY_MS}`,
    expiry: 'UPDATE note SET exp = 1; UPDATE entry SET exp = 1',
    hand: 'DELETE FROM entry; DELETE FROM note; DELETE FROM state'
  }
  for (const [way, sql] of Object.entries(ways)) {
    const store = await openStore(options)
    epoch ??= store.logs[0].epoch
    await store.publish([publication(ann), publication(ann, { key: 'k' })])
    if (last > 0) t.ok(store.logs[0].head > last + 1000, `before ${way}`)
    else t.equal(store.logs[0].head, 2, 'a new log begins with seq 1')
    last = store.logs[0].head
    await store.close()
    edit(dataDir, sql)
    const after = await openStore(options)
    t.equal(await settled(empty, Boolean), true, `nothing is left by ${way}`)
    t.equal(after.logs[0].epoch, epoch)
    // A removal by the store itself takes a seq.
    t.ok(after.logs[0].head === last || (way !== 'hand' && after.logs[0].head > last))
    await after.close()
  }
  const store = await openStore(options)
  t.teardown(() => store.close())
  const [a, b] = [publication(ann), publication(ann)]
  await store.publish([a, b])
  last = store.logs[0].head - 2
  await store.recall(b.id)
  await store.recall(a.id)
  t.equal(store.logs[0].head, last + 4, 'each removal has its own seq')
  t.same(await store.read('ann', ['user:ann'], last + 4, 10), {
    events: [],
    upTo: last + 4,
    more: false,
    counts: { unread: 0, unseen: 0 },
    recount: false
  })
})

t.test('kill -9 while publishing, collapsing and removing never uses a seq twice', async (t) => {
  const dataDir = tempDir(t)
  const script = fileURLToPath(new URL('./churn-until-killed.ts', import.meta.url))
  const epochs = new Set<string>()
  let last = 0
  for (let round = 1; round <= 3; round += 1) {
    const child = spawn(BARE_NODE[0], [...BARE_NODE.slice(1), '--import', 'tsx', script, dataDir], {
      stdio: ['ignore', 'pipe', 'inherit']
    })
    let text = ''
    child.stdout.on('data', (bytes: Buffer) => {
      text += bytes
      if (text.length > 4000) child.kill('SIGKILL')
    })
    await once(child, 'close')
    const lines = text.split('\n').slice(0, -1)
    epochs.add(lines.shift()!)
    const seqs = lines.map((line) => Number(line.slice('seq '.length)))
    t.ok(seqs.length > 100, `${seqs.length} seqs`)
    t.ok(seqs[0]! > last && Number.isSafeInteger(seqs[0]), `${seqs[0]} comes after ${last}`)
    // One seq may be skipped after a shared event, and one used by dropped entries.
    const steps = seqs.slice(1).map((seq, i) => seq - seqs[i]!)
    t.ok(
      Math.min(...steps) >= 1 && Math.max(...steps) <= 3,
      'consecutive, except for reserved seqs'
    )
    last = seqs.at(-1)!
  }
  t.equal(epochs.size, 1, 'the epoch is kept')
  const store = await openStore(storeOptions(dataDir))
  t.teardown(() => store.close())
  t.ok(store.logs[0].head >= last)
  const { head } = store.logs[0]
  await store.publish([publication(ann)])
  t.ok(store.logs[0].head > head + 1)
})
