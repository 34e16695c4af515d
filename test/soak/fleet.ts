import { eventually } from '../fixtures/eventually.ts'
import { freePort } from '../fixtures/free-port.ts'
import { startScaleNginx } from '../fixtures/proxies.ts'
import { call, MONITOR_KEY, type Service, startService } from '../service/harness.ts'
import { type RedisServer, startRedis } from '../stores/redis-server.ts'

type Teardown = { teardown(fn: () => unknown): void }

export { skipNginx } from '../fixtures/proxies.ts'

/** One node, which keeps its port across restarts. */
export class FleetNode {
  readonly port: number
  readonly #t: Teardown
  readonly #env: Record<string, string>
  #service: Service | undefined

  constructor(t: Teardown, port: number, env: Record<string, string>) {
    this.#t = t
    this.port = port
    this.#env = { ...env, PORT: String(port) }
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  get output(): string {
    return this.#service?.output() ?? ''
  }

  /** Resolves when the node accepts streams. */
  async start(): Promise<void> {
    this.#service = await startService(this.#t, { env: this.#env })
    await eventually(async () => (await call('GET', `${this.url}/readyz`)).status === 200, 30_000)
  }

  /** Stops the node and returns its exit code. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    return this.#service!.kill(signal)
  }
}

export interface Fleet {
  /** The address of nginx. */
  readonly url: string
  readonly nodes: readonly FleetNode[]
  readonly redis: RedisServer
}

/**
 * Three nodes on one Redis behind a real nginx with the configuration of `docker/` and the test's
 * addresses.
 */
export async function startFleet(t: Teardown, env: Record<string, string>): Promise<Fleet> {
  const redis = await startRedis(t)
  const shared = {
    STORE: 'redis',
    REDIS_URL: redis.url,
    TRUST_PROXY: '1',
    LOG_LEVEL: 'warn',
    ...env
  }
  // The log must name the address: at `warn` it would not.
  const nodes: FleetNode[] = []
  for (let n = 0; n < 3; n++)
    nodes.push(new FleetNode(t, await freePort(), { ...shared, LOG_LEVEL: 'info' }))
  await Promise.all(nodes.map((node) => node.start()))
  const url = await startScaleNginx(
    t,
    nodes.map(({ port }) => port)
  )
  await eventually(async () => {
    const seen = await Promise.all(
      nodes.map((node) => call('GET', `${node.url}/monitor`, { key: MONITOR_KEY }))
    )
    return seen.every(({ body }) => body.nodes.length === nodes.length)
  })
  return { url, nodes, redis }
}
