import { MAX_PAGE_BYTES } from '../bounds/limits.ts'
import type { LoggedEvent } from '../log/event.ts'

const bytesOf = (event: LoggedEvent): number =>
  event.kind === 'notification'
    ? Buffer.byteLength(event.entry.content)
    : (event.ids?.length ?? 0) * 40

/** Reads candidates one by one until a limit is reached. `more` is true if any are left. */
export function pageOf<Candidate>(
  candidates: readonly Candidate[],
  read: (candidate: Candidate) => LoggedEvent,
  limit: number
): { readonly events: LoggedEvent[]; readonly more: boolean } {
  const events: LoggedEvent[] = []
  let bytes = 0
  for (const candidate of candidates) {
    if (events.length === limit) return { events, more: true }
    const event = read(candidate)
    bytes += bytesOf(event)
    if (bytes > MAX_PAGE_BYTES && events.length > 0) return { events, more: true }
    events.push(event)
  }
  return { events, more: false }
}
