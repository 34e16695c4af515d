import { eventually } from '../fixtures/eventually.ts'
import { freePort } from '../fixtures/free-port.ts'
import { type RedisServer, startRedis } from './redis-server.ts'

type Teardown = { teardown(fn: () => unknown): void }

/** A Cluster of three masters. It serves the slots of the others if one is gone. */
export async function startRedisCluster(
  t: Teardown
): Promise<{ readonly servers: RedisServer[]; readonly url: string }> {
  const nodes: { server: RedisServer; bus: number }[] = []
  for (let n = 0; n < 3; n++) {
    const bus = await freePort()
    const args = [
      '--cluster-enabled',
      'yes',
      '--cluster-port',
      String(bus),
      '--cluster-require-full-coverage',
      'no'
    ]
    nodes.push({ bus, server: await startRedis(t, { args }) })
  }
  const bounds = [0, 5461, 10_923, 16_384]
  for (const [n, { server }] of nodes.entries()) {
    await server.say(`CLUSTER ADDSLOTSRANGE ${bounds[n]} ${bounds[n + 1]! - 1}`)
    for (const other of nodes)
      await server.say(`CLUSTER MEET 127.0.0.1 ${other.server.port} ${other.bus}`)
  }
  for (const { server } of nodes)
    await eventually(async () => (await server.say('CLUSTER INFO')).includes('cluster_state:ok'))
  for (const { server } of nodes)
    await eventually(async () =>
      (await server.say('CLUSTER INFO')).includes('cluster_known_nodes:3')
    )
  const servers = nodes.map(({ server }) => server)
  return { servers, url: `redis://${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}` }
}
