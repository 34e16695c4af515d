import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import http from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createParser } from 'eventsource-parser'
import { BARE_NODE } from '../fixtures/bare-node.ts'
import { eventually } from '../fixtures/eventually.ts'
import { jwt, SECRET } from '../fixtures/jwt.ts'
import { type Teardown, tempDir } from '../fixtures/temp-dir.ts'

export const PUBLISH_KEY = 'test-publish-key'
export const MONITOR_KEY = 'test-monitor-key'
const MAIN = path.resolve('dist/main.js')
if (existsSync('.env'))
  throw new Error('the services of the tests would read the file .env of this clone: move it away')

/** A token of a user, valid for an hour. */
export const tokenOf = (user: string, topics: string[] = []): string =>
  jwt({
    sub: user,
    topics,
    iat: Math.floor(Date.now() / 1000),
    exp: Math.floor(Date.now() / 1000) + 3600
  })

export interface Service {
  readonly url: string
  readonly child: ChildProcess
  readonly output: () => string
  readonly dataDir: string
  kill(signal: NodeJS.Signals): Promise<number | null>
}

/**
 * Node options for both ways to write a stream: `off` hides the internals needed to detach a
 * socket, so streams go through the response object.
 */
export const NODE_FLAGS = {
  on: [],
  off: ['--import', path.resolve('test/fixtures/no-internals.js')]
} as const satisfies Record<string, readonly string[]>

export interface ServiceOptions {
  readonly env?: Record<string, string>
  readonly dataDir?: string
  readonly args?: readonly string[]
  /** Options for Node itself. */
  readonly flags?: readonly string[]
  /** A program with its arguments that starts the service, such as `prlimit`. */
  readonly under?: readonly string[]
}

/** The environment of a test service: nothing inherited, production rules. */
export function serviceEnv(
  dataDir: string,
  env: Record<string, string> = {}
): Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '',
    NODE_ENV: 'production',
    HOST: '127.0.0.1',
    PORT: '0',
    LOG_LEVEL: 'info',
    DATA_DIR: dataDir,
    // In production the listener stays open for all of DRAIN_MS, so tests that are not about
    // draining keep it short.
    DRAIN_MS: '200',
    PUBLISH_KEYS: `tests:${PUBLISH_KEY}`,
    MONITOR_KEYS: `tests:${MONITOR_KEY}`,
    AUTH_JWT_SECRET: SECRET,
    ...env
  }
}

/** Starts the built program and waits until it logs its address. */
export async function startService(t: Teardown, options: ServiceOptions = {}): Promise<Service> {
  const dataDir = options.dataDir ?? tempDir(t)
  const command = [
    ...(options.under ?? []),
    ...BARE_NODE,
    ...(options.flags ?? []),
    MAIN,
    ...(options.args ?? [])
  ]
  const child = spawn(command[0]!, command.slice(1), {
    env: serviceEnv(dataDir, options.env),
    cwd: tmpdir(),
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let output = ''
  const exited = once(child, 'exit')
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await exited
    }
  })
  const url = await new Promise<string>((resolve, reject) => {
    const hear = (chunk: Buffer): void => {
      output += chunk
      const match = /(?:"address":"|listens on )(http:\/\/[^"\s]+)/.exec(output)
      if (match) resolve(match[1]!)
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    child.once('exit', (code) => reject(new Error(`the service ended with ${code}: ${output}`)))
  })
  return {
    url,
    child,
    dataDir,
    output: () => output,
    async kill(signal) {
      child.kill(signal)
      const [code] = (await exited) as [number | null]
      return code
    }
  }
}

/** Runs the built program until it exits. */
export async function runService(
  args: readonly string[],
  env: Record<string, string>
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const [command, ...bare] = BARE_NODE
  const child = spawn(command, [...bare, MAIN, ...args], {
    env,
    cwd: tmpdir(),
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}

// biome-ignore lint/suspicious/noExplicitAny: assertions look into answers
type Json = any

/** Sends one request with a JSON body and reads a JSON answer. */
export async function call(
  method: string,
  url: string,
  options: { key?: string; body?: unknown; headers?: Record<string, string> } = {}
): Promise<{ status: number; headers: Headers; body: Json; text: string }> {
  const response = await fetch(url, {
    method,
    redirect: 'manual',
    headers: {
      ...(options.key === undefined ? {} : { authorization: `Bearer ${options.key}` }),
      ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...options.headers
    },
    ...(options.body === undefined
      ? {}
      : { body: typeof options.body === 'string' ? options.body : JSON.stringify(options.body) })
  })
  const text = await response.text()
  let body: Json
  try {
    body = text === '' ? undefined : JSON.parse(text)
  } catch {
    body = undefined
  }
  return { status: response.status, headers: response.headers, body, text }
}

/**
 * Publishes with the tests' producer key; the notification needs `to`, everything else has
 * defaults.
 */
export const publish = (
  service: { url: string },
  notification: Record<string, unknown>,
  headers: Record<string, string> = {}
) =>
  call('POST', `${service.url}/v1/notifications`, {
    key: PUBLISH_KEY,
    body: { type: 'test', ...notification },
    headers
  })

export interface Frame {
  readonly event: string
  readonly id: string | undefined
  readonly data: Json
  readonly raw: string
}

export interface TestStream {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly frames: Frame[]
  /** Everything received so far, as text. */
  readonly text: () => string
  readonly retries: number[]
  /** Waits for the first frame that fits, from the given index on. */
  until(fits: (frame: Frame) => boolean, from?: number): Promise<Frame>
  readonly ended: Promise<void>
  pause(): void
  resume(): void
  close(): void
}

/** Opens an event stream over its own connection. */
export async function openStream(
  t: Teardown,
  url: string,
  options: { token?: string; headers?: Record<string, string> } = {}
): Promise<TestStream> {
  const frames: Frame[] = []
  const retries: number[] = []
  const waiting = new Set<() => void>()
  let text = ''
  const request = http.get(url, {
    agent: false,
    headers: {
      ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
      ...options.headers
    }
  })
  request.on('error', () => {})
  t.teardown(() => request.destroy())
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  const parser = createParser({
    onEvent: ({ event, id, data }) =>
      frames.push({ event: event ?? 'message', id, data: JSON.parse(data), raw: data }),
    onRetry: (ms) => retries.push(ms)
  })
  let over = false
  const wake = (): void => {
    for (const check of [...waiting]) check()
  }
  response.setEncoding('utf8')
  response.on('data', (chunk: string) => {
    text += chunk
    parser.feed(chunk)
    wake()
  })
  response.on('error', () => {})
  const ended = new Promise<void>((resolve) =>
    response.once('close', () => {
      over = true
      resolve()
      wake()
    })
  )
  return {
    status: response.statusCode!,
    headers: response.headers,
    frames,
    retries,
    text: () => text,
    ended,
    pause: () => response.pause(),
    resume: () => response.resume(),
    close: () => request.destroy(),
    until(fits, from = 0) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(check)
          reject(
            new Error(
              `no such frame within 60 s; got ${JSON.stringify(frames.map(({ event }) => event).slice(-20))}`
            )
          )
        }, 60_000)
        function check(): void {
          const found = frames.slice(from).find(fits)
          if (!found && !over) return
          waiting.delete(check)
          clearTimeout(timer)
          if (found) resolve(found)
          else
            reject(
              new Error(
                `the stream ended without it; got ${JSON.stringify(frames.map(({ event }) => event).slice(-20))}`
              )
            )
        }
        waiting.add(check)
        check()
      })
    }
  }
}

export interface RawPeer {
  readonly socket: Socket
  /** Everything received so far. */
  readonly text: () => string
  /** Waits until the received text matches. */
  until(pattern: RegExp): Promise<string>
  readonly closed: Promise<void>
}

/** A raw TCP client: sends the given bytes over its own connection. */
export async function rawPeer(
  t: Teardown,
  service: { url: string },
  bytes: string
): Promise<RawPeer> {
  const { port, hostname } = new URL(service.url)
  const socket = connect({
    port: Number(port),
    host: hostname.replace(/^\[|\]$/g, ''),
    allowHalfOpen: true
  })
  t.teardown(() => socket.destroy())
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk) => {
    text += chunk
  })
  socket.on('error', () => {})
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  await once(socket, 'connect')
  socket.write(bytes)
  return {
    socket,
    text: () => text,
    closed,
    async until(pattern) {
      await eventually(() => pattern.test(text) || socket.destroyed)
      if (!pattern.test(text))
        throw new Error(`the connection closed without ${pattern}; got ${text.slice(-500)}`)
      return text
    }
  }
}

/** The head of a request as text. */
export const requestHead = (
  path: string,
  token?: string,
  more: readonly string[] = [],
  method = 'GET'
): string =>
  [
    `${method} ${path} HTTP/1.1`,
    'host: x',
    ...(token ? [`authorization: Bearer ${token}`] : []),
    ...more,
    '',
    ''
  ].join('\r\n')

/** The `connections` of `/monitor`. */
export const connectionsOf = async (service: { url: string }): Promise<Json> =>
  (await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })).body.connections
