/**
 * How many connections each user may have over all nodes together. All numbers are absolute, so a
 * message that is repeated or late does no harm.
 */
export interface Quota {
  /**
   * Asks whether this node may have `mine` connections of the user, the one being opened included.
   * If it resolves to true, they are reserved until this node reports another number. Of two nodes
   * that ask for the last one at the same time, only one gets it. Never waits long, never rejects.
   */
  acquire(user: string, mine: number): Promise<boolean>
  /** Reports how many connections of the user this node has now, those being opened included. */
  report(user: string, mine: number): void
}
