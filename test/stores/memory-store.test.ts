import t from 'tap'
import { openStore } from '../../src/stores/open-store.ts'
import { storeContract } from './store-contract.ts'
import { storeOptions } from './store-fixtures.ts'
import { countsProperty, storeProperty } from './store-property.ts'

storeContract(t, (options) => openStore(storeOptions('', { store: 'memory', ...options })))

t.test('random operations give the results of a plain model', (t) =>
  storeProperty(
    t,
    async () => {
      const store = await openStore(storeOptions('', { store: 'memory' }))
      return { store, reopen: async () => store, end: () => store.close() }
    },
    200
  )
)

t.test('counts and lists match the entries, whichever way entries are removed', async (t) => {
  const store = await openStore(storeOptions('', { store: 'memory', retentionPerChannel: 4 }))
  t.teardown(() => store.close())
  await countsProperty(t, store, 100)
})
