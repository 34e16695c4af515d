import type { MarkOp } from '../../log/event.ts'
import { type Marks, UNTOUCHED } from '../../log/notification.ts'
import type { Readers } from '../../log/store.ts'

/** Each user's marks, by the seq of the entry. */
export class MemoryMarks {
  readonly #byUser = new Map<string, Map<number, Marks>>()

  /** A user's marks on an entry. */
  get(user: string, seq: number): Marks {
    return this.#byUser.get(user)?.get(seq) ?? UNTOUCHED
  }

  /** Sets marks on one entry. True if anything changed. `now`: milliseconds since 1970. */
  set(user: string, op: MarkOp, seq: number, now: number): boolean {
    const { readAt, seen, archived } = this.get(user, seq)
    const unchanged = { read: readAt !== null, unread: archived || readAt === null, seen, archived }
    if (unchanged[op]) return false
    const own = this.#byUser.get(user) ?? new Map<number, Marks>()
    this.#byUser.set(user, own)
    own.set(seq, {
      readAt: op === 'read' ? now : op === 'unread' ? null : readAt,
      seen: true,
      archived: archived || op === 'archived'
    })
    return true
  }

  /** How many users saw, read and archived one of these entries. */
  readers(seqs: readonly number[]): Readers {
    const readers = { seen: 0, read: 0, archived: 0 }
    for (const own of this.#byUser.values()) {
      for (const seq of seqs) {
        const { seen, readAt, archived } = own.get(seq) ?? UNTOUCHED
        if (seen) readers.seen++
        if (readAt !== null) readers.read++
        if (archived) readers.archived++
      }
    }
    return readers
  }

  /** Forgets the marks on an entry that is gone. */
  forgetEntry(seq: number): void {
    for (const own of this.#byUser.values()) own.delete(seq)
  }

  /** Forgets all marks of a user. */
  forgetUser(user: string): void {
    this.#byUser.delete(user)
  }
}
