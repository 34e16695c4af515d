import Fastify from 'fastify'
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod'
import { test } from 'tap'
import { SingleNode } from '../../src/cluster/single-node.ts'
import { Hub } from '../../src/delivery/hub.ts'
import { subscriberRateLimit } from '../../src/plugins/inbox.ts'
import changes from '../../src/plugins/poll.ts'
import problems from '../../src/plugins/problems.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { observe } from '../fixtures/observe.ts'

test('polls are limited in rate whatever other routes the service has', async (t) => {
  const store = new MemoryStore({ retentionDays: 30, retentionPerChannel: 1000 })
  const settings = {
    heartbeatMs: 15_000,
    maxBufferedBytes: 1_000_000,
    stallMs: 30_000,
    maxConnectionAgeMs: 3_600_000
  }
  const limits = { maxConnections: 0, maxConnectionsPerUser: 0, maxConnectionsPerIp: 0 }
  const hub = new Hub(
    store,
    'node',
    new SingleNode('node', 0),
    { ...settings, ...limits },
    observe()
  )
  const app = Fastify()
  t.teardown(async () => {
    hub.stop()
    await app.close()
    await store.close()
  })
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  const identity = {
    authenticate: async () => ({
      subscriber: { user: 'ann', topics: [] },
      via: 'bearer',
      enter: async () => {}
    })
  }
  await app.register(problems)
  await app.register(changes, { hub, identity, rateLimit: subscriberRateLimit(2) })
  const statuses: number[] = []
  for (let n = 0; n < 3; n++) statuses.push((await app.inject('/v1/changes')).statusCode)
  t.strictSame(statuses, [200, 200, 429])
})
