import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { scopeOf } from '../../src/log/channel.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import { openStore } from './built.ts'
import { writeState } from './sqlite-fixtures.ts'
import { publication, storeOptions } from './store-fixtures.ts'

const scope = scopeOf('ann', [])

interface Case {
  readonly wrote: 'full' | 'normal'
  readonly end: 'closed' | 'killed'
  readonly boot: 'same' | 'other'
  readonly opens?: 'full' | 'normal'
  readonly epoch: 'kept' | 'new'
}

/** What an end and the next start mean for the epoch. `killed` leaves the files as kill -9 does. */
const CASES: readonly Case[] = [
  { wrote: 'normal', end: 'killed', boot: 'same', epoch: 'kept' },
  { wrote: 'normal', end: 'killed', boot: 'other', epoch: 'new' },
  { wrote: 'normal', end: 'closed', boot: 'same', epoch: 'kept' },
  { wrote: 'normal', end: 'closed', boot: 'other', epoch: 'kept' },
  { wrote: 'full', end: 'killed', boot: 'same', epoch: 'kept' },
  { wrote: 'full', end: 'killed', boot: 'other', epoch: 'kept' },
  { wrote: 'full', end: 'closed', boot: 'other', epoch: 'kept' },
  { wrote: 'normal', end: 'killed', boot: 'other', opens: 'full', epoch: 'new' },
  { wrote: 'full', end: 'killed', boot: 'other', opens: 'normal', epoch: 'kept' }
]

for (const { wrote, end, boot, opens = wrote, epoch } of CASES) {
  t.test(
    `STORE_SYNC=${wrote}, ${end}, ${boot} boot, then STORE_SYNC=${opens}: the epoch is ${epoch}`,
    async (t) => {
      const dataDir = tempDir(t)
      const stateFile = join(dataDir, 'bellwire.life')
      const first = await openStore(storeOptions(dataDir, { sync: wrote }))
      await first.publish([publication({ user: 'ann' }), publication({ user: 'ann' })])
      copyFileSync(stateFile, join(dataDir, 'state when killed'))
      await first.close()
      if (end === 'killed') copyFileSync(join(dataDir, 'state when killed'), stateFile)
      if (boot === 'other') writeState(dataDir, { boot: 'another' })

      const second = await openStore(storeOptions(dataDir, { sync: opens }))
      t.teardown(() => second.close())
      t.equal(second.logs[0].epoch === first.logs[0].epoch ? 'kept' : 'new', epoch, 'epoch')
      t.same(await second.counts('ann', scope), { unread: 2, unseen: 2 }, 'the data is kept')
      await second.publish([publication({ user: 'ann' })])
      t.ok(second.logs[0].head > 1e9, 'a start skips seqs that may have been used')
    }
  )
}

t.test('a new epoch survives further restarts', async (t) => {
  const dataDir = tempDir(t)
  const epochs: string[] = []
  for (const boot of ['same', 'other', 'same', 'same']) {
    if (boot === 'other') writeState(dataDir, { boot: 'another', clean: false })
    const store = await openStore(storeOptions(dataDir, { sync: 'normal' }))
    await store.close()
    epochs.push(store.logs[0].epoch)
  }
  t.equal(new Set(epochs).size, 2)
  t.not(epochs[0], epochs[1])
  t.same(epochs.slice(2), [epochs[1], epochs[1]])
})
