import type { Query } from './api.ts'
import { type Frame, frameOf } from './frame.ts'
import { sleep } from './sleep.ts'
import type { Transport } from './transport.ts'

interface Changes {
  readonly events: readonly Frame[]
  readonly cursor: string
  readonly more: boolean
}

/** How long the service may wait for an event, in seconds. */
const WAIT_S = 25
/**
 * Pause between answers with events, so that a burst takes few requests and stays below the rate
 * limit.
 */
const PAUSE_MS = 250

/** Repeated requests, each answered as soon as there is an event. This passes every proxy. */
export const poll: Transport = {
  status: 'polling',
  async open(api, items, { cursor: resumeFrom, hear }, signal) {
    const ask = (query: Query): Promise<Changes> => api.json('changes', query, undefined, signal)
    // Only `ready` names the user and the topics; the answer after a cursor has none. Both may have
    // changed, so events wait until the user is known.
    const identify = async (): Promise<void> => {
      const since = resumeFrom()
      for (const { event, id, data } of (await ask({ items: since ? 0 : items })).events) {
        hear(
          frameOf(event, since ?? id, since ? { ...data, resumed: true, counts: undefined } : data)
        )
      }
    }
    await identify()
    for (let wait = 0; !signal.aborted; wait = WAIT_S) {
      const { events, cursor, more } = await ask({ since: resumeFrom(), wait, items })
      if (events.length) await identify()
      for (const frame of events) hear(frame)
      hear(frameOf('heartbeat', cursor, {}))
      if (events.some(({ event }) => event === 'goodbye')) return
      if (events.length && !more) await sleep(PAUSE_MS)
    }
  }
}
