import { setTimeout as sleep } from 'node:timers/promises'
import fp from 'fastify-plugin'
import { ANSWER_MS } from '../bounds/limits.ts'
import type { Hub } from '../delivery/hub.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Ends all streams, spread over `drainMs`; ordinary requests are still served. With `hold` it
     * takes all of that time, so that a load balancer notices before the listener closes. Call it
     * before `close`. `commands/serve.ts` calls it on a signal.
     */
    drain(hold?: boolean): Promise<void>
  }
}

interface ShutdownOptions {
  readonly hub: Hub
  /** Milliseconds over which the ends of streams are spread. */
  readonly drainMs: number
  /** Fails the work that still waits for the store. */
  readonly abandon: () => void
}

/**
 * Ends the streams in `preClose`, because the server waits for them before `onClose`. Requests in
 * flight finish; connections that become idle are closed, because each would keep the process
 * alive until its keep-alive time-out.
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
      // Every request in flight gets a response: if the store is too slow, its work fails.
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
