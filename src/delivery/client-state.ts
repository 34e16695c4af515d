import { type Cursor, formatCursor } from '../log/cursor.ts'
import type { Counts } from '../log/notification.ts'

/** How far one client has come: the events it has had, the cursor it was sent, and its counts. */
export class ClientState {
  #epoch: string
  #seq = -1
  #sentSeq = -1
  #arrivedWith: Cursor | null
  #unread = 0
  #unseen = 0
  #countsKnown = false

  /** `arrivedWith` is the cursor that the client sent, null if it sent none. */
  constructor(epoch: string, arrivedWith: Cursor | null) {
    this.#epoch = epoch
    this.#arrivedWith = arrivedWith
  }

  /** The client has had every event up to this seq that concerns it; -1 before the first frame. */
  get seq(): number {
    return this.#seq
  }

  /** The cursor of {@link seq}; null before the first frame. */
  get cursor(): Cursor | null {
    return this.#seq < 0 ? null : formatCursor(this.#epoch, this.#seq)
  }

  /** The last id that the client received: a frame that moves no cursor repeats it. */
  get sentCursor(): Cursor | null {
    return this.#sentSeq < 0 ? this.#arrivedWith : formatCursor(this.#epoch, this.#sentSeq)
  }

  get counts(): Counts {
    return { unread: this.#unread, unseen: this.#unseen }
  }

  /** False if only the store knows the counts: the client has yet to receive them. */
  get countsKnown(): boolean {
    return this.#countsKnown
  }

  /** The client is about to receive the events behind `seq` of the log with this epoch. */
  start(epoch: string, seq: number): void {
    this.#epoch = epoch
    this.#seq = this.#sentSeq = seq
  }

  /** The log does not continue where it was, so its seqs mean nothing any longer. */
  restart(): void {
    this.#arrivedWith = this.sentCursor
    this.#seq = this.#sentSeq = -1
  }

  /** A frame with the id `seq` was sent. */
  sent(seq: number): void {
    this.#seq = this.#sentSeq = seq
  }

  /** Nothing up to `seq` concerns the client, except what it has had. Never goes back. */
  passed(seq: number): void {
    if (seq > this.#seq) this.#seq = seq
  }

  /** `count` notifications were sent; each adds one to both counts. */
  created(count: number): void {
    this.#unread += count
    this.#unseen += count
  }

  /** The store's counts. `known` is false if they may have changed since it read them. */
  setCounts({ unread, unseen }: Counts, known: boolean): void {
    this.#unread = unread
    this.#unseen = unseen
    this.#countsKnown = known
  }

  /** From now on only the store knows the counts. */
  invalidateCounts(): void {
    this.#countsKnown = false
  }
}
