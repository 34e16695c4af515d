import { test } from 'tap'
import { createApp } from '../src/app.ts'
import { loadConfig } from '../src/config/config.ts'

test('a slow request has a time limit for head and body; a stream has none', async (t) => {
  const app = await createApp(loadConfig({ STORE: 'memory', LOG_LEVEL: 'fatal' }, {}), '0.0.0')
  t.teardown(() => app.close())
  const { server } = app
  t.ok(server.headersTimeout > 0 && server.headersTimeout <= 20_000)
  t.ok(server.requestTimeout > 0 && server.requestTimeout <= 30_000)
  t.equal(server.timeout, 0, 'silence ends nothing')
  t.equal(server.maxConnections ?? 0, 0, 'streams are counted, sockets are not')
  t.ok(
    server.keepAliveTimeout > 60_000,
    'longer than the load balancers that use a connection again'
  )
})
