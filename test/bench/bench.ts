/**
 * `npm run bench`: what publishing, delivering and holding streams costs, beside a naive Fastify
 * fan-out in the same run. The two take turns, since a machine's speed drifts; compare the ratio,
 * not the figures of two runs. Loopback only, about four minutes.
 *
 *   npm run bench -- --rounds 1 --readers 2000     a quick look
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { cpuMicros, pssBytes } from './process-cost.ts'
import { type PublishPlan, publish } from './publisher.ts'
import { Load } from './readers.ts'
import { bellwire, naive, type Running, start, type Target, TOPIC } from './targets.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '2' },
    readers: { type: 'string', default: '10000' }
  }
})
const ROUNDS = Number(values.rounds)
const MANY = Math.min(Number(values.readers), openFiles() - 300)
const FEW = Math.min(1000, MANY)
const BATCH = 50
const PAD = 'x'.repeat(90)

/** The server runs on one CPU, everything else on another. */
const CPUS = availableParallelism()
const pinning = CPUS > 1 && canPin()
const SERVER_CPU = pinning ? 0 : null

const ROWS = {
  publishSingle: { title: 'publish, 64 in flight, nobody reads', unit: '/s', aim: null },
  publishBatch: { title: `publish, batches of ${BATCH}, nobody reads`, unit: '/s', aim: null },
  connects: { title: `connects (${MANY.toLocaleString('en')})`, unit: '/s', aim: null },
  connectCpu: { title: 'CPU per connect', unit: 'µs', aim: null },
  bytes: { title: `PSS per idle connection (${MANY.toLocaleString('en')})`, unit: 'B', aim: 0.6 },
  manyPaced: {
    title: `CPU per frame, topic of ${MANY.toLocaleString('en')}, 4/s`,
    unit: 'µs',
    aim: 0.75
  },
  manyMax: {
    title: `CPU per frame, topic of ${MANY.toLocaleString('en')}, flat out`,
    unit: 'µs',
    aim: 0.12
  },
  userPaced: {
    title: `CPU per publish, ${MANY.toLocaleString('en')} users, 1,000/s`,
    unit: 'µs',
    aim: 1.2
  },
  userMax: {
    title: `CPU per publish, ${MANY.toLocaleString('en')} users, flat out`,
    unit: 'µs',
    aim: 1.2
  },
  userBatch: {
    title: `CPU per notification, ${MANY.toLocaleString('en')} users, batches of ${BATCH} (naive: single)`,
    unit: 'µs',
    aim: 0.6
  },
  fewPaced: {
    title: `CPU per frame, topic of ${FEW.toLocaleString('en')}, 30/s`,
    unit: 'µs',
    aim: 0.75
  },
  fewMax: {
    title: `CPU per frame, topic of ${FEW.toLocaleString('en')}, flat out`,
    unit: 'µs',
    aim: 0.12
  }
} as const
type Row = keyof typeof ROWS

const figures = new Map<string, number[]>()
const faults: string[] = []
const record = (target: Target, row: Row, value: number): void => {
  const key = `${target.name}/${row}`
  figures.set(key, [...(figures.get(key) ?? []), value])
}

const content = (n: number): string =>
  `"type":"order.shipped","title":"Your order is on its way","body":"${PAD}","data":{"n":${n}}`
const toTopic = (n: number): string => `{"to":{"topic":"${TOPIC}"},${content(n)}}`
const toUser = (n: number): string => `{"to":{"user":"u${(n * 7919) % MANY}"},${content(n)}}`
const batchOf =
  (one: (n: number) => string) =>
  (n: number): string =>
    `{"notifications":[${Array.from({ length: BATCH }, (_, i) => one(n * BATCH + i)).join(',')}]}`

type Plan = Omit<PublishPlan, 'port' | 'path' | 'headers'> & { readonly batch?: boolean }

class Session {
  readonly #target: Target
  readonly #server: Running
  readonly #load: Load

  constructor(target: Target, server: Running, load: Load) {
    this.#target = target
    this.#server = server
    this.#load = load
  }

  async publish({
    batch = false,
    ...plan
  }: Plan): Promise<{ notifications: number; seconds: number }> {
    const path = batch ? this.#target.batchPath! : this.#target.path
    const result = await publish({
      ...plan,
      port: this.#server.port,
      path,
      headers: this.#target.headers
    })
    if (result.refused)
      faults.push(
        `${this.#target.name}: ${result.refused} of ${result.requests} requests were refused`
      )
    return {
      notifications: (result.requests - result.refused) * (batch ? BATCH : 1),
      seconds: result.seconds
    }
  }

  /** CPU time of the server per frame received; fails if frames are missing. */
  async deliver(row: Row, readersOfEach: number, plan: Plan): Promise<void> {
    const before = (await this.#load.received()).received
    const cpuBefore = cpuMicros(this.#server.pid)
    const { notifications } = await this.publish(plan)
    const expected = notifications * readersOfEach
    let counted = 0
    let lost = 0
    for (let idle = 0; idle < 100 && counted < expected; ) {
      const now = await this.#load.received()
      idle = now.received - before > counted ? 0 : idle + 1
      counted = now.received - before
      lost = now.lost
      if (counted < expected) await sleep(50)
    }
    const cpu = cpuMicros(this.#server.pid) - cpuBefore
    if (counted !== expected || lost)
      faults.push(
        `${this.#target.name}, ${ROWS[row].title}: ${counted} of ${expected} frames, ${lost} streams lost`
      )
    record(this.#target, row, cpu / expected)
  }

  async run(): Promise<void> {
    const { pid, port } = this.#server
    const target = this.#target
    const requests = (n: number): string[] =>
      Array.from({ length: n }, (_, i) => target.request(`u${i}`))

    // A warm-up, so that the code is compiled and the heap has its size.
    await this.#load.open(port, requests(100))
    await this.publish({ inFlight: 16, requests: 200, body: toTopic })
    await this.publish({ inFlight: 16, requests: 2000, body: toUser })
    await this.#load.ask({ close: true })
    await sleep(500)

    const single = await this.publish({ inFlight: 64, seconds: 3, body: toUser })
    record(target, 'publishSingle', single.notifications / single.seconds)
    if (target.batchPath) {
      const batched = await this.publish({
        inFlight: 16,
        seconds: 3,
        batch: true,
        body: batchOf(toUser)
      })
      record(target, 'publishBatch', batched.notifications / batched.seconds)
    }

    const idle = await this.#settledBytes()
    const all = requests(MANY)
    const cpuBefore = cpuMicros(pid)
    const seconds = await this.#load.open(port, all)
    record(target, 'connects', MANY / seconds)
    record(target, 'connectCpu', (cpuMicros(pid) - cpuBefore) / MANY)
    record(target, 'bytes', ((await this.#settledBytes()) - idle) / MANY)

    await this.deliver('manyPaced', MANY, { inFlight: 1, rate: 4, seconds: 5, body: toTopic })
    await this.deliver('manyMax', MANY, { inFlight: 16, requests: 64, body: toTopic })
    await this.deliver('userPaced', 1, { inFlight: 8, rate: 1000, seconds: 4, body: toUser })
    await this.deliver('userMax', 1, { inFlight: 64, seconds: 3, body: toUser })
    if (target.batchPath)
      await this.deliver('userBatch', 1, {
        inFlight: 8,
        seconds: 3,
        batch: true,
        body: batchOf(toUser)
      })
    await this.#load.ask({ close: true })
    await sleep(1000)

    await this.#load.open(port, requests(FEW))
    await this.deliver('fewPaced', FEW, { inFlight: 2, rate: 30, seconds: 4, body: toTopic })
    await this.deliver('fewMax', FEW, { inFlight: 16, requests: 500, body: toTopic })
    await this.#load.ask({ close: true })
  }

  async #settledBytes(): Promise<number> {
    for (let i = 0; i < 3; i++) {
      process.kill(this.#server.pid, 'SIGUSR2')
      await sleep(700)
    }
    return pssBytes(this.#server.pid)
  }
}

async function main(): Promise<void> {
  // The publishers run in this process, the readers in another.
  if (pinning) execFileSync('taskset', ['-cp', '1', String(process.pid)], { stdio: 'ignore' })
  for (let round = 1; round <= ROUNDS; round++) {
    for (const target of round % 2 ? [naive, bellwire] : [bellwire, naive]) {
      process.stderr.write(`round ${round} of ${ROUNDS}: ${target.name}\n`)
      const server = await start(target, SERVER_CPU)
      const load = new Load()
      try {
        await new Session(target, server, load).run()
      } finally {
        load.stop()
        await server.stop()
      }
    }
  }
  report()
}

function report(): void {
  const median = (name: string, row: Row): number | null => {
    const sorted = (figures.get(`${name}/${row}`) ?? []).sort((a, b) => a - b)
    if (sorted.length === 0) return null
    return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2
  }
  const text = (value: number | null, unit: string): string =>
    value === null
      ? '–'
      : `${value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)} ${unit}`
  const lines = ['| what | Bellwire | naive | ratio | aim |', '|---|--:|--:|--:|--:|']
  for (const [row, { title, unit, aim }] of Object.entries(ROWS) as [Row, (typeof ROWS)[Row]][]) {
    const ours = median('bellwire', row)
    const theirs = median('naive', row === 'userBatch' ? 'userMax' : row)
    const ratio = ours === null || theirs === null ? '–' : (ours / theirs).toFixed(2)
    lines.push(
      `| ${title} | ${text(ours, unit)} | ${text(theirs, unit)} | ${ratio} | ${aim === null ? '' : `≤ ${aim}`} |`
    )
  }
  console.log(
    `${lines.join('\n')}\n\nNode ${process.version}, ${CPUS} CPUs, ${ROUNDS} rounds in turns, ${pinning ? 'server and clients on a CPU each' : 'not pinned'}. Bellwire: authorized, fsynced, resumable; naive: none of these.`
  )
  if (faults.length === 0) console.log('Every frame that was expected arrived.')
  for (const fault of faults) console.log(`FAULT: ${fault}`)
  if (faults.length) process.exitCode = 1
}

function canPin(): boolean {
  try {
    execFileSync('taskset', ['-V'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

function openFiles(): number {
  const limit = /^Max open files\s+(\d+|unlimited)/m.exec(
    readFileSync('/proc/self/limits', 'utf8')
  )?.[1]
  return limit === undefined || limit === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(limit)
}

await main()
