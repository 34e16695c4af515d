/**
 * `npm run bench:growth`: what grows with what: topics of a user, open streams, stored
 * notifications. Prints tables in Markdown; about five minutes.
 *
 *   npm run bench:growth -- --only stored            one of stored, topics, streams
 *   npm run bench:growth -- --data DIR               keeps the filled databases for the next run
 *   npm run bench:growth -- --write                  puts the tables into src/stores/README.md
 *   GROWTH_STORED=10000000 npm run bench:growth      up to ten million stored notifications
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { leaveCpuToServer, openFiles, PINS, whenAndWhere, writeBlock } from './machine.ts'
import { median } from './median.ts'
import { cpuMicros, pssBytes } from './process-cost.ts'
import { drive, publish } from './publisher.ts'
import { Load } from './readers.ts'
import { bellwire, get, jwt, type Running, start, type Target } from './targets.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: ['stored', 'topics', 'streams'] },
    data: { type: 'string' },
    write: { type: 'boolean', default: false }
  }
})
const STORED = [10_000, 100_000, 1_000_000, 10_000_000].filter(
  (size) => size <= Number(process.env['GROWTH_STORED'] ?? 1_000_000)
)
const TOPICS = [1, 10, 100, 200]
const STREAMS = [100, 1000, 10_000, 19_000].filter((count) => count <= openFiles() - 700)
/** What each user has, so that only the number of users grows with what is stored. */
const PER_USER = 100
const BATCH = 1000
const REQUESTS = 2000
const CPU = PINS ? 0 : null

const target: Target = {
  ...bellwire,
  env: (port, dataDir) => ({
    ...bellwire.env(port, dataDir),
    MAX_CONNECTIONS: '19500',
    RATE_LIMIT: '0',
    HEARTBEAT_MS: '15000'
  })
}
const count = (n: number): string => n.toLocaleString('en')
const content = `"type":"order.shipped","title":"Your order is on its way","body":"${'x'.repeat(90)}"`

/** CPU time of the server per request, in microseconds. */
async function cpuPer(
  { pid, port }: Running,
  request: (n: number) => string,
  requests = REQUESTS
): Promise<number> {
  await drive({ port, inFlight: 8, requests: requests / 4, request })
  const before = cpuMicros(pid)
  const result = await drive({ port, inFlight: 8, requests, request })
  if (result.refused > 0) throw new Error(`${result.refused} requests were refused`)
  return (cpuMicros(pid) - before) / result.requests
}

/** CPU time of the server per notification published to one of some users, in microseconds. */
async function cpuPerPublish({ pid, port }: Running, users: number): Promise<number> {
  const plan = {
    port,
    path: () => '/v1/notifications',
    headers: bellwire.headers,
    inFlight: 16,
    body: (n: number) => `{"to":{"user":"u${(n * 104_729) % users}"},${content}}`
  }
  await publish({ ...plan, requests: 1000 })
  const before = cpuMicros(pid)
  const { requests, refused } = await publish({ ...plan, requests: 5000 })
  if (refused > 0) throw new Error(`${refused} requests were refused`)
  return (cpuMicros(pid) - before) / requests
}

/** Opens a stream for each request; returns the CPU time for each, in microseconds. */
async function open(load: Load, { pid, port }: Running, requests: string[]): Promise<number> {
  const before = cpuMicros(pid)
  await load.open(port, requests)
  return (cpuMicros(pid) - before) / requests.length
}

/** Runs something with a load process, which ends with it. */
async function withLoad<T>(work: (load: Load) => Promise<T>): Promise<T> {
  const load = new Load()
  try {
    return await work(load)
  } finally {
    load.stop()
  }
}

async function withServer<T>(
  dataDir: string | undefined,
  work: (server: Running) => Promise<T>
): Promise<T> {
  const server = await start(target, CPU, dataDir === undefined ? {} : { dataDir })
  try {
    return await work(server)
  } finally {
    await server.stop()
  }
}

/** Publishes in batches until every recipient has the notifications of `bodies`. */
async function fill({ port }: Running, total: number, to: (n: number) => string): Promise<void> {
  const size = Math.min(BATCH, total)
  const { refused } = await publish({
    port,
    path: () => '/v1/notifications/batch',
    headers: bellwire.headers,
    inFlight: 4,
    requests: Math.ceil(total / size),
    body: (n) =>
      `{"notifications":[${Array.from({ length: size }, (_, i) => `{"to":${to(n * size + i)},${content}}`).join()}]}`
  })
  if (refused > 0) throw new Error(`${refused} batches were refused`)
}

async function stored(): Promise<string> {
  const root = values.data ?? mkdtempSync(join(tmpdir(), 'bellwire-growth-'))
  const lines = [
    '| stored | file, MB | start until ready, s | publish | open a stream | inbox page | counts |',
    '|--:|--:|--:|--:|--:|--:|--:|'
  ]
  try {
    for (const total of STORED) lines.push(await rowOfStored(total, join(root, String(total))))
  } finally {
    if (values.data === undefined) rmSync(root, { recursive: true })
  }
  return lines.join('\n')
}

async function rowOfStored(total: number, dir: string): Promise<string> {
  const users = total / PER_USER
  if (!existsSync(join(dir, 'filled'))) {
    process.stderr.write(`storing ${count(total)} notifications\n`)
    rmSync(dir, { recursive: true, force: true })
    mkdirSync(dir, { recursive: true })
    const filler = await start(target, null, { dataDir: dir })
    await fill(filler, total, (n) => `{"user":"u${(n * 7919) % users}"}`)
    await filler.stop('SIGTERM')
    writeFileSync(join(dir, 'filled'), '')
  }
  process.stderr.write(`measuring ${count(total)} stored\n`)
  const { size } = statSync(join(dir, 'bellwire.db'))
  // Measured on a copy, because measuring stores more.
  const copy = mkdtempSync(join(tmpdir(), 'bellwire-growth-'))
  try {
    cpSync(dir, copy, { recursive: true })
    return await measureStored(total, size, copy)
  } finally {
    rmSync(copy, { recursive: true })
  }
}

async function measureStored(total: number, size: number, dir: string): Promise<string> {
  const users = total / PER_USER
  const starts: number[] = []
  for (let k = 0; k < 3; k++) starts.push(await withServer(dir, async ({ readyMs }) => readyMs))
  const tokens = Array.from({ length: 1000 }, (_, n) => jwt(`u${(n * 104_729) % users}`))
  const request = (path: string) => (n: number) => get(path, tokens[n % tokens.length]!)
  return withServer(dir, async (server) => {
    const inbox = await cpuPer(server, request('/v1/inbox'))
    const counts = await cpuPer(server, request('/v1/inbox/counts'))
    const publishing = await cpuPerPublish(server, users)
    const requests = tokens.map((token) => get('/v1/stream', token))
    const opening = await withLoad(async (load) => {
      await open(load, server, requests)
      await load.ask({ close: true })
      return open(load, server, requests)
    })
    const costs = [publishing, opening, inbox, counts].map((micros) => `${Math.round(micros)} µs`)
    return `| ${count(total)} | ${count(Math.round(size / 1e6))} | ${((median(starts) ?? 0) / 1000).toFixed(2)} | ${costs.join(' | ')} |`
  })
}

async function topics(): Promise<string> {
  const lines = [
    '| topics of a user | open a stream | memory of a stream | inbox page | counts | publish to a user |',
    '|--:|--:|--:|--:|--:|--:|'
  ]
  for (const number of TOPICS) {
    process.stderr.write(`measuring ${number} topics\n`)
    const names = Array.from({ length: number }, (_, n) => `t${n}`)
    const tokens = Array.from({ length: 1000 }, (_, n) => jwt(`u${n}`, names))
    lines.push(
      await withServer(undefined, async (server) => {
        await fill(server, number * PER_USER, (n) => `{"topic":"t${n % number}"}`)
        const at = (path: string) => (n: number) => get(path, tokens[n % tokens.length]!)
        const inbox = await cpuPer(server, at('/v1/inbox'))
        const counts = await cpuPer(server, at('/v1/inbox/counts'))
        return withLoad(async (load) => {
          const requests = tokens.map((token) => get('/v1/stream', token))
          await open(load, server, requests)
          await load.ask({ close: true })
          const before = pssBytes(server.pid)
          const opening = await open(load, server, requests)
          const bytes = (pssBytes(server.pid) - before) / requests.length
          const publishing = await cpuPerPublish(server, tokens.length)
          const costs = [inbox, counts, publishing].map((micros) => `${Math.round(micros)} µs`)
          return `| ${number} | ${Math.round(opening)} µs | ${(bytes / 1000).toFixed(1)} kB | ${costs.join(' | ')} |`
        })
      })
    )
  }
  return lines.join('\n')
}

async function streams(): Promise<string> {
  const lines = [
    '| open streams | open one more | memory, MB | publish to one of them | all idle, CPU |',
    '|--:|--:|--:|--:|--:|'
  ]
  for (const number of STREAMS) {
    process.stderr.write(`measuring ${count(number)} streams\n`)
    const requests = Array.from({ length: number + 500 }, (_, n) =>
      get('/v1/stream?items=0', jwt(`u${n}`))
    )
    lines.push(
      await withServer(undefined, async (server) =>
        withLoad(async (load) =>
          withLoad(async (more) => {
            await open(load, server, requests.slice(0, number))
            let opening = 0
            // The last time counts: by then the code is compiled, whatever the number of streams.
            for (let k = 0; k < 6; k++) {
              opening = await open(more, server, requests.slice(number))
              await more.ask({ close: true })
              await new Promise((resolve) => setTimeout(resolve, 500))
            }
            const publishing = await cpuPerPublish(server, number)
            await new Promise((resolve) => setTimeout(resolve, 1000))
            const before = cpuMicros(server.pid)
            await new Promise((resolve) => setTimeout(resolve, 5000))
            const idle = (cpuMicros(server.pid) - before) / 5e6
            return `| ${count(number)} | ${Math.round(opening)} µs | ${Math.round(pssBytes(server.pid) / 1e6)} | ${Math.round(publishing)} µs | ${(idle * 100).toFixed(1)} % |`
          })
        )
      )
    )
  }
  return lines.join('\n')
}

leaveCpuToServer()
for (const [name, measure] of Object.entries({ stored, topics, streams })) {
  if (!values.only.includes(name)) continue
  const report = `${await measure()}\n\n\`npm run bench:growth\`, ${whenAndWhere()}.`
  console.log(`${report}\n`)
  if (values.write) writeBlock('src/stores/README.md', `growth: ${name}`, `\n${report}\n`)
}
