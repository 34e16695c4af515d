import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import type { FastifyListenOptions } from 'fastify'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    /** Listens on `host`; for `localhost`, on all its addresses. Returns the URL of the first. */
    listenOnAll(options: {
      readonly host: string
      readonly port: number
      readonly backlog: number
    }): Promise<string>
  }
}

/** Errors for an address of `localhost` that this machine lacks. */
const MISSING = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT'])

/**
 * Adds `listenOnAll`, which serves all addresses by one HTTP server. Fastify would create a server
 * for each address, and our listeners for connections and upgrades would miss all but the first.
 */
export default fp(
  async (app) => {
    const further: Server[] = []
    app.decorate('listenOnAll', async ({ host, ...options }) => {
      if (host !== 'localhost') return app.listen({ host, ...options })
      const addresses = [
        ...new Set((await lookup(host, { all: true })).map(({ address }) => address))
      ]
      const url = await app.listen({
        host: addresses.shift() ?? host,
        ...options
      } satisfies FastifyListenOptions)
      const { port } = app.server.address() as AddressInfo
      for (const address of addresses) {
        // The options that node:http sets for its own servers.
        const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
          app.server.emit('connection', socket)
        )
        server.listen({ host: address, ...options, port })
        try {
          await once(server, 'listening')
          further.push(server)
        } catch (error) {
          if (!MISSING.has((error as NodeJS.ErrnoException).code ?? '')) throw error
        }
      }
      return url
    })
    app.addHook('preClose', async () => {
      for (const server of further) server.close()
    })
  },
  { name: 'listeners', dependencies: ['shutdown'] }
)
