import { setTimeout as sleep } from 'node:timers/promises'
import fp from 'fastify-plugin'
import { ANSWER_MS } from '../bounds/limits.ts'
import type { Hub } from '../delivery/hub.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Ends all streams, spread over the time set; ordinary requests are served meanwhile. With `hold` it takes all of that time, so
     * that a balancer hears of it before the listener closes. Call it before `close`.
     */
    drain(hold?: boolean): Promise<void>
  }
}

interface ShutdownOptions {
  readonly hub: Hub
  readonly drainMs: number
  /** Fails the work that still waits for the store. */
  readonly abandon: () => void
}

/**
 * Ends the streams before the server stops to listen: `onClose` would come too late, the server waits for them. Requests in flight
 * finish; a connection that falls idle afterwards is swept, or it would keep the process for the length of its keep-alive.
 */
export default fp<ShutdownOptions>(
  async (app, { hub, drainMs, abandon }) => {
    let hurry: NodeJS.Timeout | undefined
    let sweep: NodeJS.Timeout | undefined
    let drained: Promise<unknown> | undefined
    const drain = async (hold = false): Promise<void> => {
      drained ??= Promise.all([hub.drain(drainMs), hold ? sleep(drainMs) : undefined])
      await drained
    }
    app.decorate('drain', drain)
    app.addHook('preClose', async () => {
      await drain()
      // Requests in flight finish; what they ask of the store and cannot have in time is refused, so that each has an answer.
      hurry = setTimeout(abandon, ANSWER_MS)
      sweep = setInterval(() => app.server.closeIdleConnections(), 50)
    })
    app.addHook('onClose', async () => {
      clearInterval(sweep)
      clearTimeout(hurry)
      hub.stop()
    })
  },
  { name: 'shutdown' }
)
