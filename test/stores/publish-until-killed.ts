import { writeSync } from 'node:fs'
import { openStore } from './built.ts'
import { publication, storeOptions } from './store-fixtures.ts'

// Publishes until it is killed, and prints each id that was acknowledged.
const store = await openStore(storeOptions(process.argv[2]!))
writeSync(1, `epoch ${store.logs[0].epoch}\n`)
await Promise.all(
  Array.from({ length: 8 }, async () => {
    for (;;) {
      const item = publication({ user: 'ann' })
      await store.publish([item])
      writeSync(1, `acked ${item.id}\n`)
    }
  })
)
