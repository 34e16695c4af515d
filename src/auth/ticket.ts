import { randomBytes } from 'node:crypto'
import { TICKET_MS } from '../bounds/limits.ts'
import type { Credentials } from '../log/store.ts'
import type { Subscriber } from '../log/subscriber.ts'
import { asking, denied } from './auth-error.ts'
import { digest } from './digest.ts'

/** A new ticket. */
export interface IssuedTicket {
  readonly ticket: string
  /** Milliseconds since 1970. */
  readonly expiresAt: number
}

/** 32 random bytes in base64url. */
const TICKET = /^[A-Za-z0-9_-]{43}$/

/**
 * Issues a ticket that admits the user once, within 30 s. The store receives only its hash. Throws
 * a `StoreError`.
 */
export async function issueTicket(
  store: Pick<Credentials, 'putTicket'>,
  user: string,
  topics: readonly string[]
): Promise<IssuedTicket> {
  const ticket = randomBytes(32).toString('base64url')
  const expiresAt = Date.now() + TICKET_MS
  await store.putTicket(digest(ticket), { user, topics }, expiresAt)
  return { ticket, expiresAt }
}

async function holderOf(
  store: Pick<Credentials, 'takeTicket'>,
  ticket: string,
  keep: boolean
): Promise<Subscriber> {
  const holder = TICKET.test(ticket)
    ? await asking(store.takeTicket(digest(ticket), { keep }))
    : null
  if (!holder) throw denied('The ticket is unknown, used, expired or revoked: get a new one.')
  return { user: holder.user, topics: holder.topics }
}

/** The subscriber that a ticket admits. The ticket stays valid. Throws an `AuthError`. */
export const readTicket = (
  store: Pick<Credentials, 'takeTicket'>,
  ticket: string
): Promise<Subscriber> => holderOf(store, ticket, true)

/**
 * Uses a ticket up. Of several concurrent calls one succeeds; the others throw an `AuthError`
 * `denied`.
 */
export async function useTicket(
  store: Pick<Credentials, 'takeTicket'>,
  ticket: string
): Promise<void> {
  await holderOf(store, ticket, false)
}
