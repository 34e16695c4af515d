import type { Api } from './api.ts'
import { type Frame, frameOf } from './frame.ts'
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

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** The counts, and the place they are true for. */
export async function countsFrame(api: Api, signal?: AbortSignal): Promise<Frame> {
  const { counts, cursor } = await api.json<{ counts: Counts; cursor: string }>('inbox', { limit: 1 }, undefined, signal)
  return frameOf('counts', cursor, { counts })
}

/** Repeated requests, each answered as soon as there is something: what passes every proxy. */
export const poll: Transport = {
  status: 'polling',
  firstMs: 15_000,
  silentMs: () => (WAIT_S + 15) * 1000,
  async open(api, _pageSize, listener, signal) {
    for (let wait = 0; !signal.aborted; wait = WAIT_S) {
      const { events, cursor, more } = await api.json<Changes>('changes', { since: listener.cursor(), wait }, undefined, signal)
      for (const frame of events) listener.hear(frame)
      // A frame for many carries no counts, and here no heartbeat will tell them.
      if (events.some(({ event, data }) => (event === 'notification' || event === 'state') && !data.counts)) {
        listener.hear(await countsFrame(api, signal))
      }
      listener.hear(frameOf('heartbeat', cursor, {}))
      if (events.some(({ event }) => event === 'goodbye')) return
      if (events.length && !more) await pause(PAUSE_MS)
    }
  }
}
