import { test } from 'tap'
import { createApp } from '../src/app.ts'
import { loadConfig } from '../src/config/config.ts'

test('a request must arrive within a time limit, and a stream may last for ever', async (t) => {
  const app = await createApp(loadConfig({ STORE: 'memory', LOG_LEVEL: 'fatal' }, {}), '0.0.0')
  t.teardown(() => app.close())
  const { server } = app
  t.ok(server.headersTimeout > 0 && server.headersTimeout <= 20_000)
  t.ok(server.requestTimeout > 0 && server.requestTimeout <= 30_000)
  t.equal(server.timeout, 0, 'an idle stream is never closed')
  t.equal(server.maxConnections ?? 0, 0, 'the limit is on streams, not on sockets')
  t.ok(
    server.keepAliveTimeout > 60_000,
    'longer than the load balancers that use a connection again'
  )
})
