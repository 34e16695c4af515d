import fp from 'fastify-plugin'
import type { Hub } from '../core/hub.ts'

interface ShutdownOptions {
  readonly hub: Hub
  readonly drainMs: number
}

/**
 * Ends the streams before the server stops to listen: `onClose` would come too late, the server waits for them. Requests in flight
 * finish; a connection that falls idle afterwards is swept, or it would keep the process for the length of its keep-alive.
 */
export default fp<ShutdownOptions>(
  async (app, { hub, drainMs }) => {
    let sweep: NodeJS.Timeout | undefined
    app.addHook('preClose', async () => {
      await hub.drain(drainMs)
      sweep = setInterval(() => app.server.closeIdleConnections(), 50)
    })
    app.addHook('onClose', async () => {
      clearInterval(sweep)
      hub.stop()
    })
  },
  { name: 'shutdown' }
)
