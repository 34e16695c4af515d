import { setTimeout as sleep } from 'node:timers/promises'
import type { Figures } from './figures.ts'
import { cpuMicros, pssBytes } from './process-cost.ts'
import { type PublishPlan, publish } from './publisher.ts'
import type { Load } from './readers.ts'
import type { Row, Sizes } from './rows.ts'
import { type Recipient, type Running, type Target, TOPIC } from './targets.ts'

const PAD = 'x'.repeat(90)

type Plan = Omit<PublishPlan, 'port' | 'path' | 'body' | 'headers'> & {
  readonly to: (n: number) => Recipient
  readonly batch?: boolean
}

/** What one server goes through in a round. */
export class Session {
  readonly #target: Target
  readonly #server: Running
  readonly #load: Load
  readonly #figures: Figures
  readonly #sizes: Sizes

  constructor(target: Target, server: Running, load: Load, figures: Figures, sizes: Sizes) {
    this.#target = target
    this.#server = server
    this.#load = load
    this.#figures = figures
    this.#sizes = sizes
  }

  async run(): Promise<void> {
    await this.#warmUp()
    await this.#nobodyConnected()
    await this.#connects()
    await this.#users()
    await this.#topics()
  }

  /** So that the code is compiled and the heap has its size. */
  async #warmUp(): Promise<void> {
    await this.#open(100, 'user')
    await this.#publish({ inFlight: 16, requests: 2000, to: this.#toUser })
    await this.#close()
    await this.#open(100, 'topic')
    await this.#publish({ inFlight: 16, requests: 200, to: toTopic })
    await this.#close()
  }

  async #nobodyConnected(): Promise<void> {
    const single = await this.#publish({ inFlight: 64, seconds: 3, to: this.#toUser })
    this.#record('publishes', single.notifications / single.seconds)
    if (this.#target.batchPath === null) return
    const plan = { inFlight: 16, seconds: 3, batch: true, to: this.#toUser }
    const batched = await this.#publish(plan)
    this.#record('batches', batched.notifications / batched.seconds)
  }

  async #connects(): Promise<void> {
    const { many } = this.#sizes
    const idle = await this.#settledBytes()
    const cpuBefore = cpuMicros(this.#server.pid)
    const seconds = await this.#open(many, 'user')
    this.#record('connects', many / seconds)
    this.#record('connectCpu', (cpuMicros(this.#server.pid) - cpuBefore) / many)
    this.#record('bytes', ((await this.#settledBytes()) - idle) / many)
  }

  async #users(): Promise<void> {
    const to = this.#toUser
    await this.#load.ask({ time: true })
    await this.#deliver('userPaced', 1, { inFlight: 16, rate: 2000, seconds: 4, to })
    const { p50, p99 } = await this.#load.latency()
    this.#record('p50', p50)
    this.#record('p99', p99)
    await this.#deliver('userMax', 1, { inFlight: 64, seconds: 3, to })
    if (this.#target.batchPath === null) return
    const rate = 2000 / this.#sizes.batch
    await this.#deliver('batchPaced', 1, { inFlight: 4, rate, seconds: 4, batch: true, to })
    await this.#deliver('batchMax', 1, { inFlight: 8, seconds: 3, batch: true, to })
  }

  async #topics(): Promise<void> {
    const { many, few } = this.#sizes
    if (this.#target.oneChannel) {
      await this.#close()
      await this.#open(many, 'topic')
    }
    const to = toTopic
    await this.#deliver('manyPaced', many, { inFlight: 1, rate: 4, seconds: 4, to })
    await this.#deliver('manyMax', many, { inFlight: 16, requests: 40, to })
    await this.#close()
    await this.#open(few, 'topic')
    await this.#deliver('fewPaced', few, { inFlight: 2, rate: 30, seconds: 4, to })
    await this.#deliver('fewMax', few, { inFlight: 16, requests: 400, to })
    await this.#close()
    await this.#open(100, 'topic')
    await this.#deliver('burst', 100, { inFlight: 64, requests: 5000, to })
    await this.#close()
  }

  /** CPU time of the server per frame received; a fault if frames are missing. */
  async #deliver(row: Row, readersOfEach: number, plan: Plan): Promise<void> {
    const before = (await this.#load.received()).received
    const cpuBefore = cpuMicros(this.#server.pid)
    const { notifications } = await this.#publish(plan)
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
    this.#record(row, (cpuMicros(this.#server.pid) - cpuBefore) / expected)
    if (counted !== expected || lost)
      this.#fault(
        `${this.#figures.title(row)}: ${counted} of ${expected} frames, ${lost} streams lost`
      )
  }

  async #publish({
    batch = false,
    to,
    ...plan
  }: Plan): Promise<{ notifications: number; seconds: number }> {
    const { path, batchPath, headers } = this.#target
    const size = this.#sizes.batch
    const { requests, refused, seconds } = await publish({
      ...plan,
      port: this.#server.port,
      headers,
      path: (n) => (batch ? batchPath! : path(to(n))),
      body: (n) => (batch ? batchOf(size, n, to) : bodyOf(to(n), n))
    })
    if (refused > 0) this.#fault(`${refused} of ${requests} requests were refused`)
    return { notifications: (requests - refused) * (batch ? size : 1), seconds }
  }

  #open(count: number, audience: 'user' | 'topic'): Promise<number> {
    const requests = Array.from({ length: count }, (_, i) =>
      this.#target.request(`u${i}`, audience)
    )
    return this.#load.open(this.#server.port, requests)
  }

  async #close(): Promise<void> {
    await this.#load.ask({ close: true })
    await sleep(700)
  }

  /** Memory after the collector has run, if the server is Node. */
  async #settledBytes(): Promise<number> {
    for (let i = 0; i < 3 && this.#target.collects; i++) {
      process.kill(this.#server.pid, 'SIGUSR2')
      await sleep(700)
    }
    return pssBytes(this.#server.pid)
  }

  #toUser = (n: number): Recipient => ({ user: `u${(n * 7919) % this.#sizes.many}` })

  #record(row: Row, value: number): void {
    this.#figures.record(this.#target.name, row, value)
  }

  #fault(text: string): void {
    this.#figures.fault(`${this.#target.name}: ${text}`)
  }
}

const toTopic = (): Recipient => ({ topic: TOPIC })

/** `t` is a clock that all processes of a machine share. */
const bodyOf = (to: Recipient, n: number): string =>
  `{"to":${JSON.stringify(to)},"type":"order.shipped","title":"Your order is on its way","body":"${PAD}","data":{"n":${n},"t":${Number(process.hrtime.bigint() / 1000n)}}}`

const batchOf = (size: number, n: number, to: (n: number) => Recipient): string =>
  `{"notifications":[${Array.from({ length: size }, (_, i) => bodyOf(to(n * size + i), n * size + i)).join(',')}]}`
