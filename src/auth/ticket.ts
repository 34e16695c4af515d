import { randomBytes } from 'node:crypto'
import { TICKET_MS } from '../core/limits.ts'
import type { Store } from '../core/store.ts'
import type { Subscriber } from '../core/subscriber.ts'
import { digest } from './digest.ts'
import { asking, unauthenticated } from './refusal.ts'

export interface IssuedTicket {
  readonly ticket: string
  /** Milliseconds since 1970. */
  readonly expiresAt: number
}

/** 32 random bytes; anything else was not issued by us. */
const TICKET = /^[A-Za-z0-9_-]{43}$/

/** Makes a ticket that admits the user once, soon. The store learns its hash only. */
export async function issueTicket(
  store: Pick<Store, 'putTicket'>,
  user: string,
  topics: readonly string[]
): Promise<IssuedTicket> {
  const ticket = randomBytes(32).toString('base64url')
  const expiresAt = Date.now() + TICKET_MS
  await store.putTicket(digest(ticket), { user, topics }, expiresAt)
  return { ticket, expiresAt }
}

/** Uses a ticket up, or looks at it only (`keep`). */
export async function takeTicket(store: Pick<Store, 'takeTicket'>, ticket: string, keep: boolean): Promise<Subscriber> {
  const holder = TICKET.test(ticket) ? await asking(store.takeTicket(digest(ticket), { keep })) : null
  if (!holder) throw unauthenticated('The ticket is unknown, used, expired or revoked: get a new one.')
  return { user: holder.user, topics: holder.topics }
}
