import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { call, eventually, MONITOR_KEY, type Service, startService, tempDir } from '../service/harness.ts'
import { freePort, type RedisServer, startRedis } from '../stores/redis-server.ts'

type Teardown = { teardown(fn: () => unknown): void }

const NGINX = ['/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/sbin/nginx'].find((file) => existsSync(file))

/** Why a test that needs nginx cannot run; false where it can. */
export const skipNginx: string | false = NGINX === undefined && 'nginx not found: apt-get install nginx-light'

/** One node, which keeps its port over restarts. */
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

  /** Resolves when it takes streams. */
  async start(): Promise<void> {
    this.#service = await startService(this.#t, { env: this.#env })
    await eventually(async () => (await call('GET', `${this.url}/readyz`)).status === 200, 30_000)
  }

  /** Ends it, and tells its exit code. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    return this.#service!.kill(signal)
  }
}

export interface Fleet {
  /** Of nginx. */
  readonly url: string
  readonly nodes: readonly FleetNode[]
  readonly redis: RedisServer
}

/** Three nodes on one Redis behind a real nginx with the configuration of `docker/`, its addresses changed to those of the test. */
export async function startFleet(t: Teardown, env: Record<string, string>): Promise<Fleet> {
  const redis = await startRedis(t)
  const shared = { STORE: 'redis', REDIS_URL: redis.url, TRUST_PROXY: '1', LOG_LEVEL: 'warn', ...env }
  // Whoever listens must be told by its log: at `warn` it would be silent.
  const nodes: FleetNode[] = []
  for (let n = 0; n < 3; n++) nodes.push(new FleetNode(t, await freePort(), { ...shared, LOG_LEVEL: 'info' }))
  await Promise.all(nodes.map((node) => node.start()))
  const url = await startNginx(t, nodes)
  await eventually(async () => {
    const seen = await Promise.all(nodes.map((node) => call('GET', `${node.url}/monitor`, { key: MONITOR_KEY })))
    return seen.every(({ body }) => body.nodes.length === nodes.length)
  })
  return { url, nodes, redis }
}

async function startNginx(t: Teardown, nodes: readonly FleetNode[]): Promise<string> {
  const dir = tempDir(t)
  const port = await freePort()
  mkdirSync(path.join(dir, 'logs'))
  let n = 0
  const config = readFileSync('docker/nginx.scale.conf', 'utf8')
    .replace(/server bellwire-\d:3000 resolve/g, () => `server 127.0.0.1:${nodes[n++]!.port}`)
    .replace('listen 8080;', `listen 127.0.0.1:${port} backlog=4096;`)
    .replace(/^\s*(listen 8443|http2|ssl_|resolver).*$/gm, '')
    .replace('worker_rlimit_nofile 131072;', `daemon off; pid ${dir}/pid; error_log ${dir}/error.log;`)
    .replace('worker_connections 65536;', 'worker_connections 8192;')
    .replace(
      'server_tokens off;',
      ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${dir}/${name};`).join('\n')
    )
  if (n !== nodes.length) throw new Error('docker/nginx.scale.conf names another number of nodes')
  const file = path.join(dir, 'nginx.conf')
  writeFileSync(file, config)
  const args = ['-c', file, '-p', dir, '-e', path.join(dir, 'error.log')]
  const check = spawnSync(NGINX!, ['-t', ...args], { encoding: 'utf8' })
  if (check.status !== 0) throw new Error(check.stderr)
  const child = spawn(NGINX!, args, { stdio: 'ignore' })
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGTERM')
    await exited
  })
  const url = `http://127.0.0.1:${port}`
  await eventually(() =>
    fetch(`${url}/nginx-healthz`).then(
      (response) => response.ok,
      () => false
    )
  )
  return url
}
