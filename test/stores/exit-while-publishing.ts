/** Publishes into the directory named, two hundred at a time, and ends by `process.exit` while the writer is at the next of them. */
import { openStore } from './built.ts'
import { publication, storeOptions } from './store-fixtures.ts'

const store = await openStore(storeOptions(process.argv[2]!))
const batch = () => store.publish(Array.from({ length: 200 }, () => publication({ user: 'ann' })))
await batch()
void batch()
void batch()
await batch()
for (let i = 0; i < 8; i++) void batch()
// Handed over by now, and more than a millisecond of work.
setTimeout(() => process.exit(3), 3)
