import Fastify from 'fastify'
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod'
import { test } from 'tap'
import { createKeyring } from '../../src/auth/keyring.ts'
import { SingleNode } from '../../src/cluster/single-node.ts'
import { Hub } from '../../src/delivery/hub.ts'
import auth from '../../src/plugins/auth.ts'
import changes from '../../src/plugins/poll.ts'
import problems from '../../src/plugins/problems.ts'
import rateLimit from '../../src/plugins/rate-limit.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { observe } from '../fixtures/observe.ts'

test('polls are rate-limited even if no other plugin is registered', async (t) => {
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
      via: 'bearer' as const,
      redeem: async () => {}
    })
  }
  await app.register(problems)
  const keys = createKeyring([])
  await app.register(auth, {
    identity,
    producers: keys,
    operators: keys,
    corsOrigins: [],
    publishScopes: []
  })
  await app.register(rateLimit, { rateLimit: 2, publishRate: 0 })
  await app.register(changes, { hub })
  const statuses: number[] = []
  for (let n = 0; n < 3; n++) statuses.push((await app.inject('/v1/changes')).statusCode)
  t.strictSame(statuses, [200, 200, 429])
})
