import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { scopeOf } from '../../src/log/channel.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import { openStore } from './built.ts'
import { writeLife } from './sqlite-fixtures.ts'
import { publication, storeOptions } from './store-fixtures.ts'

const scope = scopeOf('ann', [])

interface Case {
  readonly wrote: 'full' | 'normal'
  readonly end: 'closed' | 'killed'
  readonly boot: 'same' | 'other'
  readonly opens?: 'full' | 'normal'
  readonly epoch: 'kept' | 'new'
}

/** What each way to end and to come back means for the epoch; `killed` leaves the files as the end of the process does. */
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
    `written with ${wrote}, ${end}, ${boot} boot, opened with ${opens}: the epoch is ${epoch}`,
    async (t) => {
      const dataDir = tempDir(t)
      const life = join(dataDir, 'bellwire.life')
      const first = await openStore(storeOptions(dataDir, { sync: wrote }))
      await first.publish([publication({ user: 'ann' }), publication({ user: 'ann' })])
      copyFileSync(life, join(dataDir, 'life of a killed one'))
      await first.close()
      if (end === 'killed') copyFileSync(join(dataDir, 'life of a killed one'), life)
      if (boot === 'other') writeLife(dataDir, { boot: 'another' })

      const second = await openStore(storeOptions(dataDir, { sync: opens }))
      t.teardown(() => second.close())
      t.equal(second.logs[0].epoch === first.logs[0].epoch ? 'kept' : 'new', epoch, 'epoch')
      t.same(await second.counts('ann', scope), { unread: 2, unseen: 2 }, 'what is there is kept')
      await second.publish([publication({ user: 'ann' })])
      t.ok(second.logs[0].head > 1e9, 'a start leaps over places that it may not know of')
    }
  )
}

t.test('a new life is kept as the old one was', async (t) => {
  const dataDir = tempDir(t)
  const epochs: string[] = []
  for (const boot of ['same', 'other', 'same', 'same']) {
    if (boot === 'other') writeLife(dataDir, { boot: 'another', clean: false })
    const store = await openStore(storeOptions(dataDir, { sync: 'normal' }))
    await store.close()
    epochs.push(store.logs[0].epoch)
  }
  t.equal(new Set(epochs).size, 2)
  t.not(epochs[0], epochs[1])
  t.same(epochs.slice(2), [epochs[1], epochs[1]])
})
