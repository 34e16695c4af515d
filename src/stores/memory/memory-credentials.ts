import type { TicketHolder } from '../../log/store.ts'

/** Tickets and revocations. */
export class MemoryCredentials {
  readonly #tickets = new Map<string, { holder: TicketHolder; expiresAt: number }>()
  readonly #revoked = new Map<string, number>()

  putTicket(hash: string, holder: TicketHolder, expiresAt: number): void {
    this.#tickets.set(hash, { holder, expiresAt })
  }

  takeTicket(hash: string, keep: boolean, now: number): TicketHolder | null {
    const ticket = this.#tickets.get(hash)
    if (!ticket || ticket.expiresAt <= now) return null
    if (!keep) this.#tickets.delete(hash)
    return ticket.holder
  }

  revoke(user: string, now: number): void {
    this.forgetTickets(user)
    this.#revoked.set(user, now)
  }

  /** When the user was last revoked, in milliseconds since 1970; 0 if never. */
  revokedAt(user: string): number {
    return this.#revoked.get(user) ?? 0
  }

  forgetTickets(user: string): void {
    for (const [hash, { holder }] of this.#tickets)
      if (holder.user === user) this.#tickets.delete(hash)
  }

  /** Deletes expired tickets. */
  tidy(now: number): void {
    for (const [hash, { expiresAt }] of this.#tickets)
      if (expiresAt <= now) this.#tickets.delete(hash)
  }
}
