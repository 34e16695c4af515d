import t from 'tap'
import { openStore } from '../../src/stores/open-store.ts'
import { storeContract } from './store-contract.ts'
import { storeOptions } from './store-fixtures.ts'
import { storeProperty } from './store-property.ts'

storeContract(t, (options) => openStore(storeOptions('', { store: 'memory', ...options })))

t.test('agrees with a plain model', (t) =>
  storeProperty(
    t,
    async () => {
      const store = await openStore(storeOptions('', { store: 'memory' }))
      return { store, reopen: async () => store, end: () => store.close() }
    },
    200
  )
)
