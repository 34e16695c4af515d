import type { Query } from './api.ts'
import { type Frame, frameOf } from './frame.ts'
import { sleep } from './sleep.ts'
import type { Transport } from './transport.ts'

interface Changes {
  readonly events: readonly Frame[]
  readonly cursor: string
  readonly more: boolean
}

const WAIT_S = 25
/** Between answers that brought something, so that a burst is a few requests and no limit of rate is met. */
const PAUSE_MS = 250

/** Repeated requests, each answered as soon as there is something: what passes every proxy. */
export const poll: Transport = {
  status: 'polling',
  async open(api, items, { cursor: place, hear }, signal) {
    const ask = (query: Query): Promise<Changes> => api.json('changes', query, undefined, signal)
    // `ready` names the user and the topics; an answer to one who goes on from a place does not. By now they may be others, so
    // nothing is told before it is known whose it is.
    const identify = async (): Promise<void> => {
      const since = place()
      for (const { event, id, data } of (await ask({ items: since ? 0 : items })).events) {
        hear(
          frameOf(event, since ?? id, since ? { ...data, resumed: true, counts: undefined } : data)
        )
      }
    }
    await identify()
    for (let wait = 0; !signal.aborted; wait = WAIT_S) {
      const { events, cursor, more } = await ask({ since: place(), wait, items })
      if (events.length) await identify()
      for (const frame of events) hear(frame)
      hear(frameOf('heartbeat', cursor, {}))
      if (events.some(({ event }) => event === 'goodbye')) return
      if (events.length && !more) await sleep(PAUSE_MS)
    }
  }
}
