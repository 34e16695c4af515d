import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { tempDir } from '../fixtures/temp-dir.ts'
import { openStore } from './built.ts'
import { storeContract } from './store-contract.ts'
import { storeOptions } from './store-fixtures.ts'
import { countsProperty, storeProperty } from './store-property.ts'

storeContract(t, (options) => openStore(storeOptions(tempDir(t), options)))

t.test('random operations give the results of a plain model, also across restarts', async (t) => {
  const parent = tempDir(t)
  await storeProperty(
    t,
    async () => {
      const options = storeOptions(mkdtempSync(join(parent, 'run-')))
      let store = await openStore(options)
      const reopen = async () => {
        const { epoch, head } = store.logs[0]
        await store.close()
        store = await openStore(options)
        if (store.logs[0].epoch !== epoch || store.logs[0].head !== head)
          throw new Error('a restart changed the epoch or the head')
        return store
      }
      return { store, reopen, end: () => store.close() }
    },
    6
  )
})

t.test('counts and lists match the entries, whichever way entries are removed', async (t) => {
  const store = await openStore(
    storeOptions(tempDir(t), { retentionPerChannel: 4, sync: 'normal' })
  )
  t.teardown(() => store.close())
  await countsProperty(t, store, 25)
})

t.test('revocations of earlier runs count, and so do later ones', async (t) => {
  const options = storeOptions(tempDir(t))
  const first = await openStore(options)
  await first.revoke('ann')
  const at = await first.revokedAt('ann')
  await first.close()
  const store = await openStore(options)
  t.teardown(() => store.close())
  t.equal(await store.revokedAt('ann'), at)
  await Promise.all([store.revoke('ben'), store.revoke('auth0|64ab')])
  for (const user of ['ben', 'auth0|64ab']) t.ok((await store.revokedAt(user)) > 0)
  t.equal(await store.revokedAt('eve'), 0)
})
