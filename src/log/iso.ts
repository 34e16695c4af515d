let lastInstant = 0
let lastText = '1970-01-01T00:00:00.000Z'

/**
 * A moment as on the wire: ISO 8601, UTC, with milliseconds. `instant`: milliseconds since 1970.
 * The last result is cached, because formatting takes 0.4 µs, and a response and the frames it
 * causes mostly share one moment.
 */
export function iso(instant: number): string {
  if (instant !== lastInstant) {
    lastText = new Date(instant).toISOString()
    lastInstant = instant
  }
  return lastText
}
