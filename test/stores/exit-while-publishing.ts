// Publishes batches of 200 into the directory of its argument, and calls `process.exit` while the
// writer is in a transaction.
import { openStore } from './built.ts'
import { publication, storeOptions } from './store-fixtures.ts'

const store = await openStore(storeOptions(process.argv[2]!))
const batch = () => store.publish(Array.from({ length: 200 }, () => publication({ user: 'ann' })))
await batch()
void batch()
void batch()
await batch()
for (let i = 0; i < 8; i++) void batch()
// By then the writer has the batches; each takes it more than a millisecond.
setTimeout(() => process.exit(3), 3)
