import { readEventStream } from './event-stream.ts'
import { frameOf } from './frame.ts'
import type { Transport } from './transport.ts'

/**
 * Server-sent events over `fetch`, which, unlike EventSource, sends headers and shows the status.
 */
export const sse: Transport = {
  status: 'live',
  async open(api, items, { cursor, hear, retry }, signal) {
    const { body } = await api.send('stream', { since: cursor(), items }, 'text/event-stream', {
      signal
    })
    await readEventStream(
      body!,
      ({ event, data, id }) => hear(frameOf(event, id || undefined, JSON.parse(data))),
      retry
    )
  }
}
