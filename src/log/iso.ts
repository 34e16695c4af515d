let lastInstant = 0
let lastText = '1970-01-01T00:00:00.000Z'

/**
 * An instant as the wire has it: ISO 8601, UTC, with milliseconds. The last one is remembered, because writing one takes 0.4 µs and
 * an answer, its frame and what was published with it mostly share theirs.
 */
export function iso(instant: number): string {
  if (instant !== lastInstant) {
    lastText = new Date(instant).toISOString()
    lastInstant = instant
  }
  return lastText
}
