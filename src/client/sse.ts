import { BellwireError } from './error.ts'
import { readEventStream } from './event-stream.ts'
import { frameOf } from './frame.ts'
import type { Transport } from './transport.ts'

/** Server-sent events over fetch, so that statuses and headers can be seen and sent. */
export const sse: Transport = {
  status: 'live',
  // A proxy that buffers holds back even the head of the answer.
  firstMs: 5_000,
  silentMs: (heartbeatMs) => 2.5 * heartbeatMs,
  async open(api, pageSize, listener, signal) {
    const query = { since: listener.cursor(), items: pageSize }
    const response = await api.send('stream', query, { signal, headers: { accept: 'text/event-stream' } })
    if (!response.headers.get('content-type')?.startsWith('text/event-stream') || !response.body) {
      throw new BellwireError(
        'not-a-stream',
        'the answer is no event stream; something in between answers in the place of the service'
      )
    }
    await readEventStream(
      response.body,
      ({ event, data, id }) => listener.hear(frameOf(event, id || undefined, JSON.parse(data))),
      listener.retry
    )
  }
}
