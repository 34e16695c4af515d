import t from 'tap'
import { openStore } from '../../src/stores/open-store.ts'
import { redisUrl, skipRedis } from './redis-server.ts'
import { storeContract } from './store-contract.ts'
import { storeOptions } from './store-fixtures.ts'
import { storeProperty } from './store-property.ts'

let drawn = 0

/** A log of its own within the one server. */
const fresh = (url: string) =>
  storeOptions('', { store: 'redis', redisUrl: url, redisPrefix: `test-${process.pid}-${Date.now()}-${++drawn}` })

t.test('redis', { skip: skipRedis }, async (t) => {
  const url = await redisUrl(t)
  storeContract(t, (options) => openStore({ ...fresh(url), ...options }))

  t.test('agrees with a plain model, also across restarts of the process', (t) =>
    storeProperty(
      t,
      async () => {
        const options = fresh(url)
        let store = await openStore(options)
        const reopen = async () => {
          const { epoch, head } = store
          await store.close()
          store = await openStore(options)
          if (store.epoch !== epoch || store.head !== head) throw new Error('a restart is no new life')
          return store
        }
        return { store, reopen, end: () => store.close() }
      },
      30
    )
  )
})
