import { BellwireError } from './error.ts'
import { createInbox } from './inbox.ts'

// The script tag's way in: one global, and no module wrapper around it.
Object.assign(globalThis, { Bellwire: { createInbox, BellwireError } })
