/** The two servers that are compared, each as a child process on a free port. */
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
const HEARTBEAT_MS = '60000'
export const TOPIC = 'bench'

export interface Target {
  readonly name: 'bellwire' | 'naive'
  readonly path: string
  /** Null if the server has none. */
  readonly batchPath: string | null
  readonly headers: string
  readonly args: readonly string[]
  readonly env: (port: number, dataDir: string) => Record<string, string>
  readonly readyPath: string
  readonly request: (user: string) => string
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

function jwt(user: string): string {
  const now = Math.floor(Date.now() / 1000)
  const head = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ sub: user, topics: [TOPIC], iat: now, exp: now + 7200 })}`
  return `${head}.${createHmac('sha256', JWT_SECRET).update(head).digest('base64url')}`
}

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

export const bellwire: Target = {
  name: 'bellwire',
  path: '/v1/notifications',
  batchPath: '/v1/notifications/batch',
  headers: `Authorization: Bearer ${PUBLISH_KEY}\r\n`,
  args: [here('../../dist/main.js')],
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
  request: (user) =>
    `GET /v1/stream?items=0 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nAuthorization: Bearer ${jwt(user)}\r\n\r\n`
}

export const naive: Target = {
  name: 'naive',
  path: '/publish',
  batchPath: null,
  headers: '',
  args: ['--import', 'tsx', here('naive.ts')],
  env: (port) => ({ NODE_ENV: 'production', PORT: String(port), HEARTBEAT_MS }),
  readyPath: '/',
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

/** Collects garbage on SIGUSR2, so that memory figures do not depend on the collector's timing. */
const COLLECT = 'data:text/javascript,process.on("SIGUSR2",()=>{gc();gc()})'

export interface Running {
  readonly pid: number
  readonly port: number
  stop(): Promise<void>
}

export async function start(target: Target, cpu: number | null): Promise<Running> {
  const port = await freePort()
  const dataDir = mkdtempSync(join(tmpdir(), 'bellwire-bench-'))
  const [command, args] = pinned(cpu, [
    process.execPath,
    '--expose-gc',
    '--import',
    COLLECT,
    ...target.args
  ])
  const { PATH = '', HOME = '' } = process.env
  const child: ChildProcess = spawn(command, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { PATH, HOME, ...target.env(port, dataDir) }
  })
  const exited = once(child, 'exit')
  const end = (): unknown => child.kill('SIGKILL')
  process.once('exit', end)
  for (let tries = 0; ; tries++) {
    const answer = await fetch(`http://127.0.0.1:${port}${target.readyPath}`).catch(() => null)
    await answer?.arrayBuffer()
    if (answer && (answer.ok || target.readyPath === '/')) break
    if (child.exitCode !== null || tries > 150) throw new Error(`${target.name} does not start`)
    await sleep(100)
  }
  return {
    pid: child.pid!,
    port,
    stop: async () => {
      end()
      await exited
      process.off('exit', end)
      rmSync(dataDir, { recursive: true, force: true })
    }
  }
}
