import { type Frame, frameOf } from './frame.ts'
import { sleep } from './sleep.ts'
import type { Transport } from './transport.ts'
import type { Counts } from './types.ts'

interface Changes {
  readonly events: readonly Frame[]
  readonly cursor: string
  readonly more: boolean
}

const WAIT_S = 25
/** Between answers that brought something, so that a burst is a few requests and no limit of rate is met. */
const PAUSE_MS = 200

/** Repeated requests, each answered as soon as there is something: what passes every proxy. */
export const poll: Transport = {
  status: 'polling',
  async open(api, _pageSize, listener, signal) {
    for (let wait = 0; !signal.aborted; wait = WAIT_S) {
      const { events, cursor, more } = await api.json<Changes>('changes', { since: listener.cursor(), wait }, undefined, signal)
      for (const frame of events) listener.hear(frame)
      // A frame for many carries no counts, and here no heartbeat of the service will tell them.
      const counts =
        events.some(({ data }) => !('counts' in data)) && (await api.json<Counts>('inbox/counts', {}, undefined, signal))
      listener.hear(frameOf('heartbeat', cursor, counts ? { counts } : {}))
      if (events.some(({ event }) => event === 'goodbye')) return
      if (events.length && !more) await sleep(PAUSE_MS)
    }
  }
}
