import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import type { FastifyListenOptions } from 'fastify'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    /** Listens on every address of `localhost`, or on the one that was named. Returns the first, as a URL. */
    listenOnAll(options: {
      readonly host: string
      readonly port: number
      readonly backlog: number
    }): Promise<string>
  }
}

/** What an address of `localhost` is that this machine does not have. */
const MISSING = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT'])

/**
 * One HTTP server, however many addresses it listens on. Fastify makes a server for each, of which only the first hears what is no
 * HTTP, and of which our listeners know nothing.
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
        // As node:http makes its own.
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
