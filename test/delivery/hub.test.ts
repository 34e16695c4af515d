import { test } from 'tap'
import { SingleNode } from '../../src/cluster/single-node.ts'
import { sseCodec } from '../../src/delivery/codec.ts'
import { Hub, type HubSettings } from '../../src/delivery/hub.ts'
import type { Quota } from '../../src/delivery/quota.ts'
import type { Sink } from '../../src/delivery/sink.ts'
import { scopeOf } from '../../src/log/channel.ts'
import type { Recipients } from '../../src/log/notification.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { observe } from '../fixtures/observe.ts'

type Teardown = { teardown(fn: () => unknown): void }

/** A sink that keeps the very buffers it is given. */
class Wire implements Sink {
  readonly transport = 'sse'
  readonly peer = null
  readonly bufferedBytes = 0
  readonly remoteAddress: string
  readonly written: Buffer[] = []
  over = false
  constructor(remoteAddress = '127.0.0.1') {
    this.remoteAddress = remoteAddress
  }
  write(bytes: Buffer): boolean {
    this.written.push(bytes)
    return true
  }
  end(last: Buffer | null): void {
    if (last) this.written.push(last)
    this.over = true
  }
  destroy(): void {
    this.over = true
  }
  get text(): string {
    return Buffer.concat(this.written).toString()
  }
}

function hubWith(t: Teardown, over: Partial<HubSettings> = {}, quota?: Quota) {
  const store = new MemoryStore({ retentionDays: 30, retentionPerChannel: 1000 })
  const settings = {
    heartbeatMs: 15_000,
    maxBufferedBytes: 1_000_000,
    stallMs: 30_000,
    maxConnections: 0,
    maxConnectionsPerUser: 0,
    maxConnectionsPerIp: 0,
    maxConnectionAgeMs: 3_600_000,
    ...over
  }
  const failures: unknown[] = []
  /** How many connections each notification went to, by id. */
  const reached = new Map<string, number>()
  const hub = new Hub(
    store,
    'node',
    quota ?? new SingleNode('node', settings.maxConnectionsPerUser),
    settings,
    observe({
      failed: (_connection, error) => failures.push(error),
      followed: (sent) => {
        for (const { event, connections } of sent)
          if (event.kind !== 'state') reached.set(event.entry.id, connections)
      }
    })
  )
  t.teardown(async () => {
    hub.stop()
    await store.close()
  })
  const open = (user: string, topics: string[], sink = new Wire()) => {
    const connection = hub.open({ subscriber: { user, topics }, sink, codec: sseCodec })
    return { connection, sink }
  }
  let drawn = 0
  const publish = (to: Recipients, ephemeral = false) =>
    store.publish([
      {
        id: `n${++drawn}`,
        to,
        content: '"type":"t","level":"info"',
        createdAt: Date.now(),
        ephemeral,
        producer: 'test'
      }
    ])
  const settled = () => new Promise((resolve) => setImmediate(resolve))
  return { hub, store, open, publish, settled, failures, reached }
}

test('an event is encoded once, and all its connections share the bytes', async (t) => {
  const { open, publish, settled } = hubWith(t)
  const readers = Array.from({ length: 100 }, (_, n) => open(`u${n}`, ['news']).sink)
  await settled()
  await publish({ topic: 'news' })
  await publish({ everyone: true })
  const [first] = readers
  t.equal(first!.written.length, 3)
  for (const sink of readers)
    for (const index of [1, 2])
      if (sink.written[index] !== first!.written[index]) t.fail('a copy of the bytes')
  t.match(first!.written[1]!.toString(), /"id":"n1"/)
  t.match(first!.written[2]!.toString(), /"id":"n2"/)
})

test('closing one tab of a user leaves the other tabs connected', async (t) => {
  const { hub, open, publish, settled } = hubWith(t)
  const tabs = Array.from({ length: 3 }, () => open('u', ['news']))
  await settled()
  tabs[0]!.connection.close('gone')
  tabs[0]!.connection.close('gone')
  t.strictSame(
    [hub.connections.size, hub.connections.users, hub.connections.of('u').length],
    [2, 1, 2]
  )
  for (const to of [{ user: 'u' }, { topic: 'news' }]) await publish(to)
  for (const { sink } of tabs.slice(1))
    t.strictSame(sink.text.match(/"id":"n\d"/g), ['"id":"n1"', '"id":"n2"'])
  t.notMatch(tabs[0]!.sink.text, /"id":"n/)
  tabs[2]!.connection.close('closed')
  tabs[1]!.connection.close('closed')
  t.strictSame(
    [hub.connections.size, hub.connections.users, hub.connections.of('u').length],
    [0, 0, 0]
  )
})

test('connections that leave an audience, in any order, do not affect those that stay', async (t) => {
  const { reached, open, publish, settled } = hubWith(t)
  // Each order in which three of four can leave.
  const orders = [0, 1, 2, 3].flatMap((a) =>
    [0, 1, 2, 3].flatMap((b) => [0, 1, 2, 3].map((c) => [a, b, c]))
  )
  let published = 0
  for (const order of orders.filter((leaving) => new Set(leaving).size === 3)) {
    const readers = Array.from({ length: 4 }, (_, n) => open(`u${n}`, ['news']))
    await settled()
    for (const [gone, n] of order.entries()) {
      readers[n]!.connection.close('gone')
      await publish({ topic: 'news' })
      t.equal(reached.get(`n${++published}`), 3 - gone, `${order}`)
    }
    const [left] = readers.filter((_, n) => !order.includes(n))
    t.equal(left!.sink.written.length, 4, 'its page, and one frame for each publish')
    left!.connection.close('gone')
  }
})

test('all streams of a user show events in one order, even with concurrent publishers', async (t) => {
  const { store, open, publish, settled } = hubWith(t)
  const to: Recipients[] = [{ user: 'u' }, { topic: 'news' }, { everyone: true }]
  const tabs = Array.from({ length: 5 }, () => open('u', ['news']).sink)
  await settled()
  await Promise.all(Array.from({ length: 60 }, (_, n) => publish(to[n % 3]!)))
  const late = open('u', ['news'])
  const page = await store.read('u', scopeOf('u', ['news']), 0, 1000)
  const log =
    'gap' in page ? [] : page.events.map((event) => `id: ${store.logs[0].epoch}-${event.seq}`)
  t.equal(log.length, 60)
  for (const sink of tabs) {
    const cursors = sink.text.match(/^id: .*$/gm)!.slice(1)
    t.strictSame(cursors, log)
  }
  late.connection.close('gone')
})

test('the limit per address counts an IPv6 /64 as one address', async (t) => {
  const { hub, open } = hubWith(t, { maxConnectionsPerIp: 2 })
  const networks: [string[], string][] = [
    [['2001:db8:1:2::1', '2001:db8:1:2:a:b:c:d', '2001:db8:1:2::ffff'], '2001:db8:1:3::1'],
    [['203.0.113.7', '203.0.113.7', '203.0.113.7'], '203.0.113.8'],
    [['::ffff:192.0.2.1', '::ffff:192.0.2.1', '::ffff:192.0.2.1'], '::ffff:192.0.2.2']
  ]
  for (const [[first, second, third], neighbour] of networks) {
    open('u', [], new Wire(first))
    open('u', [], new Wire(second))
    t.equal(hub.refusal('u', third!), 'limit', `${third}`)
    t.equal(hub.refusal('u', neighbour), null, neighbour)
  }
})

test('the limit per address reads shortened IPv6 addresses', async (t) => {
  const { hub, open } = hubWith(t, { maxConnectionsPerIp: 2 })
  for (const address of ['2001:db8::1', '2001:db8::a:b:c:d']) open('u', [], new Wire(address))
  t.equal(hub.refusal('u', '2001:db8::ffff'), 'limit')
  t.equal(hub.refusal('u', '2001:db8:0:1::1'), null)
})

test('if the store fails, only the stream that reads from it ends, with a goodbye that says when to return', async (t) => {
  const { hub, store, open, settled, failures } = hubWith(t)
  const { sink: neighbour } = open('v', [])
  await settled()
  store.inbox = () => Promise.reject(new Error('away'))
  const { sink } = open('u', [])
  await settled()
  t.match(
    sink.text,
    /^retry: \d{4,5}\nevent: goodbye\ndata: \{"reason":"unavailable","retryMs":\d{4,5}\}\n\n$/
  )
  t.ok(sink.over)
  t.notOk(neighbour.over)
  t.strictSame([hub.connections.size, failures.length], [1, 1])
})

/**
 * Executes calls in order, each a little later, and grants at random, as a server on the network
 * would.
 */
class DistantQuota implements Quota {
  readonly has = new Map<string, number>()
  #last: Promise<unknown> = Promise.resolve()

  acquire(user: string, mine: number): Promise<boolean> {
    return this.#then(() => {
      const granted = Math.random() < 0.5
      if (granted) this.has.set(user, mine)
      return granted
    })
  }

  report(user: string, mine: number): void {
    void this.#then(() => this.has.set(user, mine))
  }

  async settled(): Promise<void> {
    for (let last: unknown; last !== this.#last; ) {
      last = this.#last
      await last
    }
  }

  #then<T>(work: () => T): Promise<T> {
    const turns = Math.floor(Math.random() * 4)
    const done = this.#last.then(async () => {
      for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
      return work()
    })
    this.#last = done
    return done
  }
}

test('the quota knows how many connections a user has, in any order of openings, releases and closes', async (t) => {
  for (let life = 0; life < 100; life++) {
    const quota = new DistantQuota()
    const { hub } = hubWith(t, { maxConnectionsPerUser: 5 }, quota)
    const admitting: Promise<unknown>[] = []
    for (let step = 0; step < 30; step++) {
      const user = `u${Math.floor(Math.random() * 2)}`
      if (Math.random() < 0.6) {
        admitting.push(
          hub
            .admit(user, '127.0.0.1', async () => {})
            .then((admitted) => {
              if (typeof admitted === 'string') return
              const subscriber = { user, topics: [] }
              // Some clients leave before their connection opens.
              if (Math.random() < 0.2) admitted.release()
              else admitted.open({ subscriber, sink: new Wire(), codec: sseCodec })
            })
        )
      } else [...hub.connections].find((connection) => connection.user === user)?.close('gone')
      if (Math.random() < 0.5) await new Promise((resolve) => setImmediate(resolve))
    }
    await Promise.all(admitting)
    await quota.settled()
    for (const user of ['u0', 'u1']) {
      if ((quota.has.get(user) ?? 0) !== hub.connections.of(user).length)
        t.fail(`${user}: ${quota.has.get(user)} for ${hub.connections.of(user).length}`)
      if (hub.connections.of(user).length > 5)
        t.fail(`${user} has ${hub.connections.of(user).length}`)
    }
    hub.stop()
    await quota.settled()
  }
  t.pass()
})

test('a connection authenticated before a revocation is closed, one authenticated after it stays', async (t) => {
  const { hub, store, settled } = hubWith(t)
  const checkedAt = performance.now()
  await store.revoke('u')
  const [late, next] = [new Wire(), new Wire()]
  hub.open({ subscriber: { user: 'u', topics: [], checkedAt }, sink: late, codec: sseCodec })
  hub.open({
    subscriber: { user: 'u', topics: [], checkedAt: performance.now() },
    sink: next,
    codec: sseCodec
  })
  await settled()
  t.match(late.text, /^event: goodbye\ndata: \{"reason":"revoked","retryMs":null\}\n\n$/)
  t.match(next.text, /event: ready/)
  t.equal(hub.connections.size, 1)
})

test('a frame that moves no cursor repeats the last cursor sent', async (t) => {
  const { hub, store, settled, publish } = hubWith(t)
  const since = `${store.logs[0].epoch}-${store.logs[0].head}`
  await publish({ user: 'another' })
  const sink = new Wire()
  const connection = hub.open({
    subscriber: { user: 'u', topics: [] },
    sink,
    codec: sseCodec,
    cursor: since
  })
  await settled()
  connection.close('closed')
  const ids = [...sink.text.matchAll(/^id: (.*)$/gm)].map(([, id]) => id)
  t.strictSame(ids, [since, since], 'ready, and goodbye')
})

test('publishing to a topic that nobody reads stays cheap, however many other topics are read', async (t) => {
  const { hub, open, publish, settled, store } = hubWith(t)
  for (let n = 0; n < 1500; n++)
    open(
      `u${n}`,
      Array.from({ length: 50 }, (_, i) => `own-${n}-${i}`)
    )
  await settled()
  // CPU time, not wall time: other processes may keep the machine busy.
  const costs: number[] = []
  for (let round = 0; round < 3; round++) {
    const before = process.cpuUsage()
    await store.publish(
      Array.from({ length: 1000 }, (_, n) => ({
        id: `round-${round}-${n}`,
        to: { topic: `nobody-${n}` },
        content: '"type":"t","level":"info"',
        createdAt: Date.now(),
        ephemeral: false,
        producer: 'test'
      }))
    )
    await settled()
    const { user, system } = process.cpuUsage(before)
    costs.push((user + system) / 1000)
  }
  t.ok(
    Math.min(...costs) < 100,
    `a thousand took ${costs.map(Math.round).join(', ')} ms; searching every audience took 200`
  )
  const reader = open('reader', ['nobody-5', 'own-3-7'])
  await settled()
  await publish({ topic: 'own-3-7' })
  await settled()
  t.match(reader.sink.text, /event: notification/)
  const { fanOut } = reader.connection
  t.strictSame(fanOut.sizes, { audiences: 1501, topics: 75_001 })
  hub.stop()
  t.strictSame(fanOut.sizes, { audiences: 0, topics: 0 }, 'closed connections leave nothing behind')
})

test('a user who opens connections in a loop is refused; other users behind the same address are not', async (t) => {
  const { hub } = hubWith(t, { maxConnectionsPerUser: 20 })
  const admit = (user: string, options?: { countsTowardRate: boolean }) =>
    hub.admit(user, '192.0.2.1', async () => {}, options)
  const admitted = async (user: string): Promise<string | null> => {
    const reservation = await admit(user)
    if (typeof reservation === 'string') return reservation
    const subscriber = { user, topics: [] }
    reservation.open({ subscriber, sink: new Wire(), codec: sseCodec }).close('gone')
    return null
  }
  for (let n = 0; n < 600; n++)
    if ((await admitted('ann')) !== null) t.fail(`opening ${n} was refused`)
  t.equal(await admitted('ann'), 'limit')
  t.equal(hub.connections.size, 0)
  const crowd = await Promise.all(Array.from({ length: 2000 }, (_, n) => admitted(`u${n}`)))
  t.ok(crowd.every((refusal) => refusal === null))
  t.type(await admit('ann', { countsTowardRate: false }), 'object', 'a poll has a rate of its own')
})

test('after the process stalls, a lagging client has its full time again', async (t) => {
  const { hub, open, publish, settled } = hubWith(t, { stallMs: 1000 })
  class FullWire extends Wire {
    override write(bytes: Buffer): boolean {
      super.write(bytes)
      return false
    }
  }
  const { connection, sink } = open('u', ['news'], new FullWire())
  await settled()
  await publish({ topic: 'news' })
  const began = performance.now()
  let now = began + 100
  const turnUntil = (end: number): void => {
    for (; now < end && !sink.over; now += 100) hub.heartbeats.turn(now)
  }
  turnUntil(began + 500)
  t.ok(connection.stallAt, 'it lags')
  now += 5000
  turnUntil(now + 400)
  t.notOk(sink.over, 'most of its time passed before the stall and during it')
  const woken = now
  turnUntil(now + 5000)
  t.ok(sink.over, 'but it is closed if it goes on reading nothing')
  t.ok(now - woken < 1500)
})
