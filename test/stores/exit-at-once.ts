// Publishes batches of 200 into the directory of its first argument, and calls `process.exit` while
// the writer is in a transaction, or closes the file if the second argument is `closing`.
import { openStore } from './built.ts'
import { publication, storeOptions } from './store-fixtures.ts'

const [, , dataDir, moment, pauseMs] = process.argv
const store = await openStore(storeOptions(dataDir!))
const batch = () => store.publish(Array.from({ length: 200 }, () => publication({ user: 'ann' })))
await batch()
void batch()
void batch()
await batch()
if (moment === 'closing') void store.close()
else for (let i = 0; i < 8; i++) void batch()
// By then the writer has its work, which takes it more than a millisecond.
setTimeout(() => process.exit(3), Number(pauseMs))
