import { BellwireError } from './error.ts'
import { createInbox } from './inbox.ts'

// The entry of /client.js for a script tag: it defines one global.
Object.assign(globalThis, { Bellwire: { createInbox, BellwireError } })
