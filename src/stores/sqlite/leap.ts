import { randomInt } from 'node:crypto'
import { MIN_LEAP, WIDEST_SPREAD } from '../../bounds/limits.ts'

/** Places in a millisecond of the clock: more than the writer can append. */
const PLACES_PER_MS = 1000

/**
 * A place for the log to go on from after a start, which no other life of it can have reached: the database may have been put back to an
 * earlier state, and what was appended since then cannot be seen in it.
 *
 * Places follow the clock, in microseconds: a life appends far fewer than a million a second, so all that was given before now is below
 * now, whichever state was put back. If the clock is behind the log it tells nothing; a leap of random width then does. Microseconds
 * stay below 2^53 until the year 2255.
 */
export function leapFrom(head: number, now: number): number {
  const clock = now * PLACES_PER_MS
  return clock > head
    ? clock + randomInt(PLACES_PER_MS * 1000)
    : head + MIN_LEAP + randomInt(WIDEST_SPREAD)
}
