import { randomInt } from 'node:crypto'
import { MIN_LEAP, WIDEST_SPREAD } from '../../bounds/limits.ts'

/** Seqs in a millisecond of the clock: more than the writer can append. */
const SEQS_PER_MS = 1000

/**
 * The seq from which the log continues after a start: one that no earlier process can have reached.
 * The database may have been restored to an earlier state, which does not show the events appended
 * after it.
 *
 * A seq follows the clock, in microseconds. A process appends far fewer than a million events a
 * second, so every earlier seq is below the present microsecond, whichever state was restored. If
 * the clock is behind the log, a leap of random width serves instead. Microseconds stay below 2^53
 * until the year 2255.
 */
export function leapFrom(head: number, now: number): number {
  const clock = now * SEQS_PER_MS
  return clock > head
    ? clock + randomInt(SEQS_PER_MS * 1000)
    : head + MIN_LEAP + randomInt(WIDEST_SPREAD)
}
