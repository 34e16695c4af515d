import type { Test } from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import { faultsOf, Producer, Reader, type Recipient } from './crowd.ts'
import { startFleet } from './fleet.ts'

export interface DeploySize {
  readonly streams: number
  readonly publishesPerSecond: number
  readonly drainMs: number
  /** Divides the time before clients reconnect; 1 is what browsers do. */
  readonly haste: number
  /** Milliseconds of calm between two incidents. */
  readonly calmMs: number
  /** Milliseconds that Redis is down. */
  readonly redisAwayMs: number
  /** The number of logs the users are spread over. */
  readonly shards: number
}

/** Two streams for each user, ten users for each topic. */
const usersOf = (streams: number): number => Math.ceil(streams / 2)
const topicOf = (user: number): string => `t${Math.floor(user / 10)}`

/** 95 of 100 publishes are for one user, the rest for a topic; a few are for everyone. */
function recipientOf(n: number, users: number, everyoneEvery: number): Recipient {
  if (n % everyoneEvery === 0) return { everyone: true }
  const user = Math.floor(Math.random() * users)
  return n % 20 === 0 ? { topic: topicOf(user) } : { user: `u${user}` }
}

/** The largest share of the given instants that lies within one second. */
function peakShare(moments: readonly number[]): number {
  const sorted = [...moments].sort((a, b) => a - b)
  let peak = 0
  let from = 0
  sorted.forEach((at, to) => {
    while (at - sorted[from]! > 1000) from++
    peak = Math.max(peak, to - from + 1)
  })
  return sorted.length === 0 ? 0 : peak / sorted.length
}

/**
 * Under load, through nginx: a rolling restart of all three nodes, then kill -9 of a node, then of
 * Redis. No client misses or repeats an event; while Redis is up, no publish is refused.
 */
export async function deployUnderLoad(t: Test, size: DeploySize): Promise<void> {
  const fleet = await startFleet(t, {
    DRAIN_MS: String(size.drainMs),
    REDIS_SHARDS: String(size.shards)
  })
  const users = usersOf(size.streams)
  const readers = Array.from({ length: size.streams }, (_, n) => {
    const user = n % users
    return new Reader(fleet.url, `u${user}`, [topicOf(user)], size.haste)
  })
  t.teardown(() => {
    for (const reader of readers) reader.close()
  })
  for (let at = 0; at < readers.length; at += 100) {
    const some = readers.slice(at, at + 100)
    for (const reader of some) reader.open()
    await eventually(() => some.every(({ ready }) => ready), 60_000)
  }
  const producer = new Producer(fleet.url, (n) =>
    recipientOf(n, users, size.publishesPerSecond * 2)
  )
  producer.start(size.publishesPerSecond)
  const calm = () => new Promise((resolve) => setTimeout(resolve, size.calmMs))
  const reconnectsSince = (at: number) =>
    readers.flatMap(({ reconnects }) => reconnects.filter((moment) => moment >= at))
  await calm()

  for (const [n, node] of fleet.nodes.entries()) {
    const startedAt = performance.now()
    t.equal(await node.end('SIGTERM'), 0, `node ${n} ends by itself`)
    await node.start()
    await calm()
    await eventually(() => reconnectsSince(startedAt).length > 0)
    const moments = reconnectsSince(startedAt)
    if (size.haste === 1) {
      const share = peakShare(moments)
      t.ok(
        share < 0.25,
        `${moments.length} came back, at most ${Math.round(share * 100)} % of them within one second`
      )
    }
  }
  t.same(
    Object.fromEntries(producer.refused),
    {},
    `no publish of ${producer.accepted.length} was refused in the rolling restart`
  )

  await fleet.nodes[0]!.end('SIGKILL')
  await calm()
  await fleet.nodes[0]!.start()
  await calm()
  t.same(Object.fromEntries(producer.refused), {}, 'nor when a node was killed')

  await fleet.redis.kill('SIGKILL')
  await new Promise((resolve) => setTimeout(resolve, size.redisAwayMs))
  await fleet.redis.start()
  const before = producer.accepted.length
  const back = performance.now()
  await eventually(() => producer.accepted.length > before, 30_000)
  const took = performance.now() - back
  t.ok(took < 10_000, `publishing went on ${Math.round(took)} ms after the return of Redis`)
  await calm()
  const answers = [...producer.refused.keys()].filter((answer) => answer !== '503')
  t.same(
    answers,
    [],
    `while it was away ${producer.refusals} were told to come again, and got no other answer`
  )

  await producer.stop()
  const last = new Producer(fleet.url, () => ({ everyone: true }))
  await last.publish({ everyone: true }, { last: true })
  await last.stop()
  await eventually(() => readers.every(({ done }) => done), 60_000)
  const accepted = [...producer.accepted, ...last.accepted]
  const received = readers.reduce((sum, reader) => sum + reader.received.length, 0)
  const reconnects = reconnectsSince(0).length
  t.comment(
    `${size.streams} streams, ${accepted.length} publishes, ${received} deliveries, ${reconnects} reconnects`
  )
  t.same(
    faultsOf(readers, accepted).slice(0, 20),
    [],
    `${received} deliveries: nothing lost, nothing twice, nobody told to begin anew`
  )
}
