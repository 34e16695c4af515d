/**
 * `npm run bench:scale`: what Redis and more nodes cost: one node with the embedded store, then
 * one, two and three nodes on one Redis, which is started for it with an append-only file. Every
 * node has the same number of readers, so that what the others add shows. All of it shares this
 * machine's CPUs: rates of several nodes tell what they cost together, not how far they go on
 * machines of their own.
 *
 *   npm run bench:scale -- --readers 100 --seconds 2 --rounds 1     a quick look
 */
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startRedis } from '../stores/redis-server.ts'
import { cpuMicros } from './process-cost.ts'
import { publish } from './publisher.ts'
import { Load } from './readers.ts'
import { bellwire, MONITOR_KEY, type Running, start, type Target, TOPIC } from './targets.ts'

const { values } = parseArgs({
  options: {
    readers: { type: 'string', default: '500' },
    seconds: { type: 'string', default: '6' },
    rounds: { type: 'string', default: '3' }
  }
})
const READERS = Number(values.readers)
const SECONDS = Number(values.seconds)
const ROUNDS = Number(values.rounds)
const BATCH = 100
const IN_FLIGHT = 48
const PER_SECOND = 30
const PATH = '/v1/notifications'

const content = `"type":"order.shipped","title":"Your order is on its way","body":"${'x'.repeat(90)}"`
const toUser = (n: number): string => `{"to":{"user":"w${(n * 7919) % 10_000}"},${content}}`
const toTopic = (): string => `{"to":{"topic":"${TOPIC}"},${content}}`
const batch = (n: number): string =>
  `{"notifications":[${Array.from({ length: BATCH }, (_, i) => toUser(n * BATCH + i)).join(',')}]}`

interface Row {
  readonly name: string
  readonly single: number
  readonly batched: number
  readonly cpuPerFrame: number
  readonly redisCpuPerPublish: number | null
  readonly p50: number
  readonly p99: number
  readonly otherP50: number | null
}

/** Publishes to all nodes at once; returns how many were accepted a second. */
async function rate(
  nodes: readonly Running[],
  path: string,
  body: (n: number) => string,
  each: number
): Promise<number> {
  const inFlight = Math.ceil(IN_FLIGHT / nodes.length)
  const results = await Promise.all(
    nodes.map(({ port }) =>
      publish({
        port,
        path: () => path,
        headers: bellwire.headers,
        inFlight,
        body,
        seconds: SECONDS
      })
    )
  )
  const refused = results.reduce((sum, result) => sum + result.refused, 0)
  if (refused > 0) throw new Error(`${refused} requests were refused`)
  return results.reduce((sum, { requests, seconds }) => sum + (requests * each) / seconds, 0)
}

async function latencyOf({
  port
}: Running): Promise<{ readonly p50: number; readonly p99: number }> {
  const response = await fetch(`http://127.0.0.1:${port}/monitor`, {
    headers: { authorization: `Bearer ${MONITOR_KEY}` }
  })
  return (
    (await response.json()) as { latencyMs: { publishToWrite: { p50: number; p99: number } } }
  ).latencyMs.publishToWrite
}

async function measure(
  name: string,
  target: Target,
  count: number,
  redisPid: number | null
): Promise<Row> {
  const nodes: Running[] = []
  for (let n = 0; n < count; n++) nodes.push(await start(target, null))
  const loads = nodes.map(() => new Load())
  try {
    for (const [n, load] of loads.entries()) {
      await load.open(
        nodes[n]!.port,
        Array.from({ length: READERS }, (_, k) => bellwire.request(`r${n}-${k}`, 'topic'))
      )
    }
    const [first, second] = nodes as [Running, Running | undefined]
    const paced = {
      port: first.port,
      path: () => PATH,
      headers: bellwire.headers,
      inFlight: 8,
      body: toTopic,
      rate: PER_SECOND
    }
    // A warm-up before the measurement.
    await publish({ ...paced, seconds: 2 })
    const before = cpuMicros(first.pid)
    const redisBefore = redisPid === null ? 0 : cpuMicros(redisPid)
    const received = (await loads[0]!.received()).received
    const { requests } = await publish({ ...paced, seconds: SECONDS })
    while ((await loads[0]!.received()).received < received + requests * READERS) await sleep(20)
    const cpuPerFrame = (cpuMicros(first.pid) - before) / (requests * READERS)
    const redisCpu = redisPid === null ? null : (cpuMicros(redisPid) - redisBefore) / requests
    const { p50, p99 } = await latencyOf(first)
    const otherP50 = second ? (await latencyOf(second)).p50 : null
    await rate(nodes, bellwire.batchPath!, batch, BATCH) // the same
    const batched = await rate(nodes, bellwire.batchPath!, batch, BATCH)
    const single = await rate(nodes, PATH, toUser, 1)
    return { name, single, batched, cpuPerFrame, redisCpuPerPublish: redisCpu, p50, p99, otherP50 }
  } finally {
    for (const load of loads) load.stop()
    for (const node of nodes) await node.stop()
  }
}

/** Each with its own Redis, so that none pays for what another left behind. */
async function measureOnRedis(count: number): Promise<Row> {
  const undo: (() => unknown)[] = []
  try {
    const redis = await startRedis({ teardown: (fn) => undo.push(fn) })
    const target: Target = {
      ...bellwire,
      env: (port, dataDir) => ({
        ...bellwire.env(port, dataDir),
        STORE: 'redis',
        REDIS_URL: redis.url
      })
    }
    const row = await measure(
      `redis, ${count} node${count > 1 ? 's' : ''}`,
      target,
      count,
      redis.pid
    )
    await redis.kill()
    return row
  } finally {
    for (const fn of undo) await fn()
  }
}

const median = (found: readonly (number | null)[]): number | null =>
  found.toSorted((a, b) => (a ?? 0) - (b ?? 0))[found.length >> 1] ?? null

/** The median of each figure. */
function medianOf(rows: readonly Row[]): {
  readonly [K in keyof Row]: K extends 'name' ? string : number | null
} {
  const of = (figure: Exclude<keyof Row, 'name'>): number | null =>
    median(rows.map((row) => row[figure]))
  return {
    name: rows[0]!.name,
    single: of('single'),
    batched: of('batched'),
    cpuPerFrame: of('cpuPerFrame'),
    redisCpuPerPublish: of('redisCpuPerPublish'),
    p50: of('p50'),
    p99: of('p99'),
    otherP50: of('otherP50')
  }
}

async function main(): Promise<void> {
  const found: Row[][] = [[], [], [], []]
  // In turns, so that a change of the machine affects all of them.
  for (let k = 0; k < ROUNDS; k++) {
    found[0]!.push(await measure('sqlite, 1 node', bellwire, 1, null))
    for (const count of [1, 2, 3]) found[count]!.push(await measureOnRedis(count))
  }
  const rows = found.map(medianOf)
  const round = (value: number | null, digits = 0): string =>
    value === null ? '' : value.toFixed(digits)
  console.log(`| | publish, ${IN_FLIGHT} in flight, /s | batches of ${BATCH}, notifications /s | CPU per frame, node 1, µs | Redis CPU per publish, µs | publish to write p50 / p99, ms | on node 2, p50, ms |
|---|---|---|---|---|---|---|`)
  for (const row of rows) {
    console.log(
      `| ${row.name} | ${round(row.single)} | ${round(row.batched)} | ${round(row.cpuPerFrame, 2)} | ${round(row.redisCpuPerPublish)} | ${round(row.p50, 1)} / ${round(row.p99, 1)} | ${round(row.otherP50, 1)} |`
    )
  }
  console.log(
    `\nNode ${process.version}, ${availableParallelism()} CPUs for nodes, readers, publishers and Redis together; ${READERS} readers on each node, ${PER_SECOND} publishes a second to a topic of all; medians of ${ROUNDS} rounds in turns.`
  )
}

await main()
