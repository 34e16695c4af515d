import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import { call, MONITOR_KEY, openStream, startService, tokenOf } from './harness.ts'

const ip = (...args: string[]) => spawnSync('ip', args, { encoding: 'utf8' })
const space = `bw${process.pid}`

/**
 * A second host, so that a client can vanish without a FIN: a veth pair with one end in a network
 * namespace.
 */
function makeHost(): boolean {
  if (ip('netns', 'add', space).status !== 0) return false
  const steps = [
    ['link', 'add', `${space}a`, 'type', 'veth', 'peer', 'name', `${space}b`],
    ['link', 'set', `${space}b`, 'netns', space],
    ['addr', 'add', '10.213.77.1/30', 'dev', `${space}a`],
    ['link', 'set', `${space}a`, 'up'],
    ['-n', space, 'addr', 'add', '10.213.77.2/30', 'dev', `${space}b`],
    ['-n', space, 'link', 'set', `${space}b`, 'up']
  ]
  return steps.every((step) => ip(...step).status === 0)
}
const removeHost = (): void => {
  ip('link', 'del', `${space}a`)
  ip('netns', 'del', space)
}

const able = process.platform === 'linux' && process.getuid?.() === 0 && makeHost()
if (!able) removeHost()

test('clients that vanished without a FIN are found and closed; live ones stay open', {
  timeout: 240_000,
  skip: able ? false : 'needs root on Linux and iproute2, for a network namespace'
}, async (t) => {
  t.teardown(removeHost)
  const service = await startService(t, { env: { HOST: '0.0.0.0', HEARTBEAT_MS: '1000' } })
  const { port } = new URL(service.url)
  const neighbour = await openStream(t, `http://127.0.0.1:${port}/v1/stream`, {
    token: tokenOf('neighbour')
  })
  await neighbour.until((f) => f.event === 'ready')
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']
  const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='
  for (const [path, headers] of [
    ['/v1/stream', []],
    ['/v1/socket', [...upgrade, key]]
  ] as const) {
    const lines = [`authorization: Bearer ${tokenOf('ghost')}`, ...headers].flatMap((line) => [
      '-H',
      line
    ])
    const peer = spawn('ip', [
      'netns',
      'exec',
      space,
      'curl',
      '-sN',
      ...lines,
      `http://10.213.77.1:${port}${path}`
    ])
    t.teardown(() => peer.kill('SIGKILL'))
    await once(peer.stdout, 'data')
  }
  const monitor = async () =>
    (await call('GET', `http://127.0.0.1:${port}/monitor`, { key: MONITOR_KEY })).body.connections
  t.equal((await monitor()).active, 3)
  const cut = performance.now()
  ip('-n', space, 'link', 'set', `${space}b`, 'down')
  let sawStale = false
  await eventually(async () => {
    const connections = await monitor()
    sawStale ||= connections.stale >= 1
    return connections.closed.stale === 2
  }, 45_000)
  // Documented: four heartbeats and 15 seconds; the kernel alone takes 15 minutes. A busy machine
  // may take longer.
  t.ok(performance.now() - cut < 40_000)
  t.ok(sawStale, 'they were seen as stale first')
  t.equal((await monitor()).active, 1)
  const beats = neighbour.frames.length
  await neighbour.until((f) => f.event === 'heartbeat', beats)
})
