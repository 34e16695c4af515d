/**
 * `npm run bench:storm`: 10,000 clients come back at once. The server is killed with SIGKILL and
 * started again while notifications are published. Measures how long it takes until every client
 * is live and has what it missed, and checks what each of them got. With the embedded store and
 * with Redis, which is started for it; with clients that keep to `retry`, and with clients that
 * reconnect at once. About two minutes.
 *
 *   npm run bench:storm -- --store sqlite --clients 2000    a quick look
 */
import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startRedis } from '../stores/redis-server.ts'
import { now } from './clock.ts'
import { leaveCpuToServer, PINS, whenAndWhere } from './machine.ts'
import { quantile } from './median.ts'
import { cpuMicros } from './process-cost.ts'
import type { Accepted, StormCommand, StormStatus, StormVerdict } from './storm-clients.ts'
import { StormProducer } from './storm-producer.ts'
import { bellwire, jwt, type Running, start, type Target } from './targets.ts'

const { values } = parseArgs({
  options: {
    clients: { type: 'string', default: '10000' },
    store: { type: 'string', multiple: true, default: ['sqlite', 'redis'] },
    kind: { type: 'string', multiple: true, default: ['patient', 'impatient'] }
  }
})
const CLIENTS = Number(values.clients)
const PROCESSES = 2
const PER_SECOND = 200
/** The longest `retry` that a client may have been given at its start, and five seconds. */
const AIM_LIVE_MS = 10_000
const AIM_PUBLISH_MS = 250
const LONGEST_MS = 60_000

/** The clients, in their processes. */
class Clients {
  readonly #children = Array.from({ length: PROCESSES }, () =>
    fork(fileURLToPath(new URL('storm-clients.ts', import.meta.url)), {
      execArgv: ['--import', 'tsx']
    })
  )

  async open(port: number, patient: boolean): Promise<void> {
    const each = CLIENTS / PROCESSES
    for (const [k, child] of this.#children.entries()) {
      const first = Math.floor(k * each)
      const length = Math.floor((k + 1) * each) - first
      const tokens = Array.from({ length }, (_, n) => jwt(`u${first + n}`))
      child.send({ start: { port, first, tokens, patient } } satisfies StormCommand)
    }
    if ((await this.allLive()) === null) throw new Error('the clients could not connect')
  }

  async status(): Promise<StormStatus> {
    const found = await this.#ask<StormStatus>({ status: true })
    const refused: Record<string, number> = {}
    for (const one of found)
      for (const [what, n] of Object.entries(one.refused)) refused[what] = (refused[what] ?? 0) + n
    const sum = (of: (one: StormStatus) => number): number =>
      found.reduce((total, one) => total + of(one), 0)
    return { live: sum(({ live }) => live), received: sum(({ received }) => received), refused }
  }

  /** When all were live; null if that took too long. */
  async allLive(): Promise<number | null> {
    for (const end = now() + LONGEST_MS; now() < end; await sleep(20))
      if ((await this.status()).live === CLIENTS) return now()
    return null
  }

  /** Asks until nothing is missing, or for twenty seconds. */
  async verify(accepted: readonly Accepted[], liveAt: number): Promise<StormVerdict> {
    for (const end = now() + 20_000; ; await sleep(200)) {
      const found = await this.#ask<StormVerdict>({ verify: accepted, liveAt })
      const sum = (of: (one: StormVerdict) => number): number =>
        found.reduce((total, one) => total + of(one), 0)
      const verdict = {
        lost: sum(({ lost }) => lost),
        twice: sum(({ twice }) => twice),
        strange: sum(({ strange }) => strange),
        caughtUpAt: Math.max(...found.map(({ caughtUpAt }) => caughtUpAt))
      }
      if (verdict.lost === 0 || now() > end) return verdict
    }
  }

  stop(): void {
    for (const child of this.#children) child.disconnect()
  }

  #ask<T>(command: StormCommand): Promise<T[]> {
    return Promise.all(
      this.#children.map(async (child) => {
        const answer = once(child, 'message')
        child.send(command)
        return (await answer)[0] as T
      })
    )
  }
}

/** The most memory that a process had, in MB. */
const peakMegabytes = (pid: number): number =>
  Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1000

async function storm(name: string, target: Target, patient: boolean): Promise<string> {
  const startedAt = now()
  const progress = (what: string): void =>
    void process.stderr.write(`${((now() - startedAt) / 1000).toFixed(1)} s: ${what}\n`)
  progress(`${name}, ${patient ? 'clients keep to retry' : 'clients come at once'}`)
  const dataDir = mkdtempSync(join(tmpdir(), 'bellwire-storm-'))
  const cpu = PINS ? 0 : null
  let server: Running = await start(target, cpu, { dataDir })
  const { port } = server
  const clients = new Clients()
  const producer = new StormProducer(port, CLIENTS)
  try {
    await clients.open(port, patient)
    progress('all connected')
    producer.start(PER_SECOND)
    await sleep(3000)
    await server.stop()
    const killedAt = now()
    server = await start(target, cpu, { dataDir, port })
    const readyAt = now()
    progress('killed, started again, ready')
    // Whoever was faster than the end of the killed process was cut off by it.
    const before = await clients.status()
    const liveAt = await clients.allLive()
    progress(liveAt === null ? 'not all are back' : 'all are back')
    const cpuSeconds = cpuMicros(server.pid) / 1e6
    await sleep(2000)
    await producer.stop()
    const verdict = await clients.verify(producer.accepted, liveAt ?? now())
    progress('all checked')
    const after = await clients.status()
    const answers = producer.answers
      .filter(({ sentAt }) => sentAt > readyAt && sentAt < verdict.caughtUpAt)
      .map(({ ms }) => ms)
    const seconds = (from: number, to: number | null): string =>
      to === null ? 'never' : ((to - from) / 1000).toFixed(1)
    const refused = Object.entries(after.refused)
      .map(([what, n]) => [what, n - (before.refused[what] ?? 0)] as const)
      .filter(([, n]) => n > 0)
      .map(([what, n]) => `${n.toLocaleString('en')} × ${what}`)
    const failed = Object.entries(producer.failed)
      .filter(([status]) => status !== '0')
      .map(([status, n]) => `${n} × publish ${status}`)
    const p99 = quantile(answers, 0.99)
    const faults = [
      liveAt === null || liveAt - readyAt > AIM_LIVE_MS ? 'live too late' : '',
      p99 > AIM_PUBLISH_MS ? 'publishes too slow' : '',
      verdict.lost + verdict.twice + verdict.strange > 0 ? 'wrong' : ''
    ].filter((fault) => fault !== '')
    if (verdict.lost + verdict.twice + verdict.strange > 0) process.exitCode = 1
    return `| ${name}, ${patient ? 'keep to `retry`' : 'at once'} | ${[
      seconds(killedAt, readyAt),
      seconds(readyAt, liveAt),
      seconds(readyAt, verdict.caughtUpAt),
      cpuSeconds.toFixed(1),
      Math.round(peakMegabytes(server.pid)),
      `${Math.round(quantile(answers, 0.5))} / ${Math.round(p99)}`,
      [...refused, ...failed].join(', ') || 'none',
      `${after.received.toLocaleString('en')}, ${verdict.lost} lost, ${verdict.twice} twice, ${verdict.strange} strange`,
      faults.join(', ') || 'met'
    ].join(' | ')} |`
  } finally {
    clients.stop()
    producer.abandon()
    await server.stop()
    rmSync(dataDir, { recursive: true, force: true })
  }
}

/** With a Redis of its own, which may use both CPUs. */
async function withRedis<T>(work: (target: Target) => Promise<T>): Promise<T> {
  const undo: (() => unknown)[] = []
  try {
    const redis = await startRedis({ teardown: (fn) => undo.push(fn) })
    if (PINS) execFileSync('taskset', ['-acp', '0,1', String(redis.pid)], { stdio: 'ignore' })
    return await work({
      ...bellwire,
      env: (port, dataDir) => ({
        ...bellwire.env(port, dataDir),
        STORE: 'redis',
        REDIS_URL: redis.url
      })
    })
  } finally {
    for (const fn of undo) await fn()
  }
}

leaveCpuToServer()
const lines = [
  '| clients | down, s | all live after, s | all caught up after, s | CPU, s | peak memory, MB | publish p50 / p99, ms | refused | notifications received | aims |',
  '|---|--:|--:|--:|--:|--:|--:|---|---|---|'
]
for (const store of values.store)
  for (const kind of values.kind) {
    const patient = kind === 'patient'
    lines.push(
      store === 'redis'
        ? await withRedis((target) => storm('redis', target, patient))
        : await storm(store, bellwire, patient)
    )
  }
console.log(
  `${lines.join('\n')}\n\n${whenAndWhere()}. ${CLIENTS.toLocaleString('en')} clients with cursors, ${PER_SECOND} publishes a second, one of them to all. Times count from when /readyz was 200 again. Aims: all live within ${AIM_LIVE_MS / 1000} s, publish p99 ≤ ${AIM_PUBLISH_MS} ms, nothing lost or twice.`
)
