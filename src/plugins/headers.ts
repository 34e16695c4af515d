import fp from 'fastify-plugin'
import { setCommonHeaders } from './transports/common-headers.ts'

/** Sets the headers that every response carries. */
export default fp(
  async (app) => {
    app.addHook('onRequest', (request, reply, done) => {
      setCommonHeaders(request, reply)
      done()
    })
  },
  { name: 'headers' }
)
