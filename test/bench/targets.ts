/** The servers that are compared, each as a child process on a free port. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '../fixtures/free-port.ts'

const JWT_SECRET = 'bench-secret-bench-secret-bench-secret'
const PUBLISH_KEY = 'bench-publish-key-bench-publish-key'
export const MONITOR_KEY = 'bench-monitor-key-bench-monitor-key'
/** Long enough that heartbeats do not affect the figures; the same for both. */
export const HEARTBEAT_MS = '60000'
export const TOPIC = 'bench'

/** Collects garbage on SIGUSR2, so that memory figures do not depend on the collector's timing. */
const COLLECT = 'data:text/javascript,process.on("SIGUSR2",()=>{gc();gc()})'
const NODE = [process.execPath, '--expose-gc', '--import', COLLECT]

export type Recipient = { readonly user: string } | { readonly topic: string }

export interface Target {
  readonly name: string
  readonly path: (to: Recipient) => string
  /** Null if the server has none. */
  readonly batchPath: string | null
  readonly headers: string
  readonly command: (port: number, dataDir: string) => readonly string[]
  readonly env: (port: number, dataDir: string) => Record<string, string>
  /** The status must be 2xx, or any if it is `/`. */
  readonly readyPath: string
  /** True if it collects garbage on SIGUSR2. */
  readonly collects: boolean
  /** True if a stream has the channel of the user or the topic, not both. */
  readonly oneChannel: boolean
  /** The request that opens a stream. `audience`: what it is opened for, if it has one channel. */
  readonly request: (user: string, audience: 'user' | 'topic') => string
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A token of a user, valid for two hours. */
export function jwt(user: string, topics: readonly string[] = [TOPIC]): string {
  const now = Math.floor(Date.now() / 1000)
  const head = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ sub: user, topics, iat: now, exp: now + 7200 })}`
  return `${head}.${createHmac('sha256', JWT_SECRET).update(head).digest('base64url')}`
}

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

/** A GET with a subscriber's token. */
export const get = (path: string, token: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`

export const bellwire: Target = {
  name: 'bellwire',
  path: () => '/v1/notifications',
  batchPath: '/v1/notifications/batch',
  headers: `Authorization: Bearer ${PUBLISH_KEY}\r\n`,
  command: () => [...NODE, here('../../dist/main.js')],
  env: (port, dataDir) => ({
    NODE_ENV: 'production',
    HOST: '127.0.0.1',
    PORT: String(port),
    DATA_DIR: dataDir,
    LOG_LEVEL: 'error',
    PUBLISH_KEYS: `bench:${PUBLISH_KEY}`,
    MONITOR_KEYS: `bench:${MONITOR_KEY}`,
    AUTH_JWT_SECRET: JWT_SECRET,
    HEARTBEAT_MS,
    MAX_CONNECTIONS: '20000'
  }),
  readyPath: '/readyz',
  collects: true,
  oneChannel: false,
  request: (user) => get('/v1/stream?items=0', jwt(user))
}

export const naive: Target = {
  name: 'naive',
  path: () => '/publish',
  batchPath: null,
  headers: '',
  command: () => [...NODE, '--import', 'tsx', here('naive.ts')],
  env: (port) => ({ NODE_ENV: 'production', PORT: String(port), HEARTBEAT_MS }),
  readyPath: '/',
  collects: true,
  oneChannel: false,
  request: (user) =>
    `GET /stream?user=${user}&topics=${TOPIC} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n`
}

/**
 * Arguments that pin a command to one CPU if possible: the server and its readers must not share
 * one.
 */
export function pinned(cpu: number | null, command: readonly string[]): [string, string[]] {
  const all = cpu === null ? [...command] : ['taskset', '-c', String(cpu), ...command]
  return [all[0]!, all.slice(1)]
}

export interface Running {
  readonly pid: number
  readonly port: number
  /** How long it took to become ready. */
  readonly readyMs: number
  /** Kills it, or ends it with another signal. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

// A signal would end this process without its `exit`, and leave the servers behind.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

export interface StartOptions {
  /** Kept when the server stops; without it, a directory of its own. */
  readonly dataDir?: string
  readonly port?: number
}

/** Starts a server, and resolves when it is ready. `cpu`: what it is pinned to, if anything. */
export async function start(
  target: Target,
  cpu: number | null,
  options: StartOptions = {}
): Promise<Running> {
  const port = options.port ?? (await freePort())
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'bellwire-bench-'))
  const [command, args] = pinned(cpu, target.command(port, dataDir))
  const { PATH = '', HOME = '' } = process.env
  const child: ChildProcess = spawn(command, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { PATH, HOME, ...target.env(port, dataDir) }
  })
  const startedAt = performance.now()
  const exited = once(child, 'exit')
  const end = (): unknown => child.kill('SIGKILL')
  process.once('exit', end)
  for (let tries = 0; ; tries++) {
    const answer = await fetch(`http://127.0.0.1:${port}${target.readyPath}`).catch(() => null)
    await answer?.arrayBuffer()
    if (answer && (answer.ok || target.readyPath === '/')) break
    if (child.exitCode !== null || tries > 3000) throw new Error(`${target.name} does not start`)
    await sleep(10)
  }
  return {
    pid: child.pid!,
    port,
    readyMs: performance.now() - startedAt,
    stop: async (signal = 'SIGKILL') => {
      child.kill(signal)
      await exited
      process.off('exit', end)
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true })
    }
  }
}
