import { writeSync } from 'node:fs'
import { scopeOf } from '../../src/log/channel.ts'
import { openStore } from './built.ts'
import { publication, storeOptions } from './store-fixtures.ts'

// Adds and removes the newest notifications until it is killed, and prints each seq it follows.
const store = await openStore(storeOptions(process.argv[2]!, { retentionPerChannel: 5 }))
writeSync(1, `epoch ${store.logs[0].epoch}\n`)
store.follow((events) => {
  for (const event of events) if ('seq' in event) writeSync(1, `seq ${event.seq}\n`)
})
for (;;) {
  const item = publication({ user: 'ann' })
  await store.publish([item, publication({ topic: 'news' }, { key: 'k' })])
  await store.mark('ann', 'read', { upTo: store.logs[0].head, scope: scopeOf('ann', ['news']) })
  await store.recall(item.id)
  if (store.logs[0].head % 3 === 0) await store.erase('ann')
}
