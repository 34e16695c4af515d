import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../fixtures/free-port.ts'

type Teardown = { teardown(fn: () => unknown): void }

const PROGRAM = ['redis-server', 'valkey-server'].find(
  (name) => spawnSync(name, ['--version']).status === 0
)

/** Why a test that stops, freezes or starts its own servers cannot run; false if it can. */
export const skipOwnServer: string | false =
  PROGRAM === undefined && 'redis-server not found: apt-get install redis-server'

/** Why a test that needs any Redis cannot run; false if it can. */
export const skipRedis: string | false =
  process.env['TEST_REDIS_URL'] === undefined && PROGRAM === undefined
    ? 'redis-server not found: apt-get install redis-server, or set TEST_REDIS_URL'
    : false

/**
 * What survives the end of a server: everything, in an append-only file synced before each reply,
 * or nothing.
 */
export type Persistence = 'always' | 'none'

export interface RedisServerOptions {
  readonly persistence?: Persistence
  /** More of the configuration, as on the command line: `['--maxmemory', '4mb']`. */
  readonly args?: readonly string[]
  /** Replaces the whole configuration, for a server that is not a store; only the port is added. */
  readonly command?: readonly string[]
}

/** A redis-server for one test, on a port that restarts keep. */
export class RedisServer {
  readonly port: number
  readonly #dir: string
  readonly #args: readonly string[]
  #child: ChildProcess | undefined

  constructor(port: number, dir: string, options: RedisServerOptions) {
    this.port = port
    this.#dir = dir
    const address = ['--port', String(port), '--bind', '127.0.0.1', '--daemonize', 'no']
    this.#args = options.command
      ? [...options.command, ...address]
      : [
          ...address,
          ...['--dir', dir, '--save', ''],
          ...[
            '--appendonly',
            options.persistence === 'none' ? 'no' : 'yes',
            '--appendfsync',
            'always'
          ],
          ...['--repl-diskless-sync-delay', '0', ...(options.args ?? [])]
        ]
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error('not running')
    return this.#child.pid
  }

  /** Starts, or restarts with the same port and files; resolves when it replies PONG to PING. */
  async start(): Promise<void> {
    const child = spawn(PROGRAM!, this.#args, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => (output = (output + chunk).slice(-4000)))
    for (let tries = 0; tries < 400; tries++) {
      if (child.exitCode !== null)
        throw new Error(`redis-server ended with ${child.exitCode}: ${output}`)
      if (/^(?:\+PONG|-NOAUTH)/.test(await this.say('PING').catch(() => ''))) return
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    throw new Error(`redis-server did not answer: ${output}`)
  }

  /** Sends an inline command over a new connection; resolves with the start of the raw reply. */
  async say(command: string): Promise<string> {
    const socket = connect(this.port, '127.0.0.1')
    try {
      socket.write(`${command}\r\n`)
      socket.setTimeout(5000, () => socket.destroy(new Error('no answer')))
      const [chunk] = (await once(socket, 'data')) as [Buffer]
      return chunk.toString()
    } finally {
      socket.destroy()
    }
  }

  /** Ends it like a power cut, or with the signal; resolves when it is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }

  /** Stops it from replying, without closing anything, until {@link thaw}. */
  freeze(): void {
    process.kill(this.pid, 'SIGSTOP')
  }

  thaw(): void {
    process.kill(this.pid, 'SIGCONT')
  }

  /** Removes it with its files. */
  async end(): Promise<void> {
    await this.kill()
    // A child process that writes a file for it may live a moment longer.
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  }
}

/**
 * A server on a free port, removed with the test. Tries again if another program takes the port
 * first.
 */
export async function startRedis(
  t: Teardown,
  options: RedisServerOptions = {}
): Promise<RedisServer> {
  for (let tries = 1; ; tries++) {
    const server = new RedisServer(await freePort(), mkdtempSync(join(tmpdir(), 'redis-')), options)
    try {
      await server.start()
      t.teardown(() => server.end())
      return server
    } catch (error) {
      await server.end()
      if (tries === 3) throw error
    }
  }
}

/**
 * Address of a Redis for tests that leave it running: `TEST_REDIS_URL`, or a server for the test.
 */
export async function redisUrl(t: Teardown): Promise<string> {
  return process.env['TEST_REDIS_URL'] ?? (await startRedis(t, { persistence: 'none' })).url
}
