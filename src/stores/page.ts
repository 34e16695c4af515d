import { MAX_PAGE_BYTES } from '../bounds/limits.ts'
import type { LoggedEvent } from '../log/event.ts'

const bytesOf = (event: LoggedEvent): number =>
  event.kind === 'notification'
    ? Buffer.byteLength(event.entry.content)
    : (event.ids?.length ?? 0) * 40

/** The first of what is there, read one by one as far as the limits go; `more` where something is left. */
export function pageOf<Place>(
  places: readonly Place[],
  read: (place: Place) => LoggedEvent,
  limit: number
): { readonly events: LoggedEvent[]; readonly more: boolean } {
  const events: LoggedEvent[] = []
  let bytes = 0
  for (const place of places) {
    if (events.length === limit) return { events, more: true }
    const event = read(place)
    bytes += bytesOf(event)
    if (bytes > MAX_PAGE_BYTES && events.length > 0) return { events, more: true }
    events.push(event)
  }
  return { events, more: false }
}
