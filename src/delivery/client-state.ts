import { type Cursor, formatCursor } from '../log/cursor.ts'
import type { Counts } from '../log/notification.ts'

/** What one client has received: the events up to a seq, a cursor, and counts. */
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

  /**
   * The client has received every event up to this seq that concerns it; -1 before the first frame.
   */
  get seq(): number {
    return this.#seq
  }

  /** The cursor of {@link seq}; null before the first frame. */
  get cursor(): Cursor | null {
    return this.#seq < 0 ? null : formatCursor(this.#epoch, this.#seq)
  }

  /**
   * The last cursor sent to the client, or the one it arrived with; null if it has neither. A frame
   * that does not advance the cursor repeats it.
   */
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

  /** The client is about to receive the events after `seq` of the log with this epoch. */
  start(epoch: string, seq: number): void {
    this.#epoch = epoch
    this.#seq = this.#sentSeq = seq
  }

  /** The log lost events, or this process missed some: earlier seqs mean nothing now. */
  restart(): void {
    this.#arrivedWith = this.sentCursor
    this.#seq = this.#sentSeq = -1
  }

  /** A frame whose cursor is {@link cursor} was sent. */
  cursorWasSent(): void {
    this.#sentSeq = this.#seq
  }

  /** The frames up to `seq` were sent, the last one with its cursor. */
  sentUpTo(seq: number): void {
    this.#seq = this.#sentSeq = seq
  }

  /** No event up to `seq` is still due to the client. A lower seq than before is ignored. */
  nothingDueUpTo(seq: number): void {
    if (seq > this.#seq) this.#seq = seq
  }

  /** `count` new notifications were sent; each adds one to both counts. */
  addCreated(count: number): void {
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
