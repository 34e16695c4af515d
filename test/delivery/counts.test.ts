import fc from 'fast-check'
import t, { type Test } from 'tap'
import { SingleNode } from '../../src/cluster/single-node.ts'
import { pollCodec, sseCodec } from '../../src/delivery/codec.ts'
import type { Connection } from '../../src/delivery/connection.ts'
import { Hub } from '../../src/delivery/hub.ts'
import type { Receiver } from '../../src/delivery/receiver.ts'
import type { Sink } from '../../src/delivery/sink.ts'
import { scopeOf } from '../../src/log/channel.ts'
import type { MarkOp } from '../../src/log/event.ts'
import type { Recipients } from '../../src/log/notification.ts'
import type { Store } from '../../src/log/store.ts'
import { type PollAnswer, PollSink } from '../../src/plugins/transports/poll-sink.ts'
import { observe } from '../fixtures/observe.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import { openStore } from '../stores/built.ts'
import { redisUrl, skipRedis } from '../stores/redis-server.ts'
import { clockPast, publication, storeOptions } from '../stores/store-fixtures.ts'

interface Frame {
  readonly event: string
  readonly id?: string
  readonly data: {
    readonly op?: string
    readonly counts?: { readonly unread: number; readonly unseen: number }
    readonly item?: { readonly cursor: string | null }
  }
}

/** A sink that takes everything, and parses it as a client would. */
class Wire implements Sink {
  readonly transport = 'sse'
  readonly peer = null
  readonly bufferedBytes = 0
  readonly remoteAddress = '127.0.0.1'
  readonly #parts: Buffer[] = []
  over = false
  write(bytes: Buffer): boolean {
    this.#parts.push(bytes)
    return true
  }
  end(last: Buffer | null): void {
    if (last) this.#parts.push(last)
    this.over = true
  }
  destroy(): void {
    this.over = true
  }
  get frames(): Frame[] {
    const blocks = Buffer.concat(this.#parts).toString().split('\n\n').slice(0, -1)
    return blocks.map((block) => {
      const fields = new Map(
        block
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)])
      )
      const id = fields.get('id')
      return {
        event: fields.get('event')!,
        data: JSON.parse(fields.get('data')!),
        ...(id === undefined ? {} : { id })
      }
    })
  }
}

/**
 * A client that applies frames as documented: absolute counts replace, a shared `created` adds one
 * to both.
 */
class Client {
  cursor: string | undefined
  counts = { unread: 0, unseen: 0 }
  apply({ event, id, data }: Frame): void {
    if (data.counts) this.counts = data.counts
    else if (event === 'notification' && data.op === 'created' && data.item!.cursor !== null)
      this.counts = { unread: this.counts.unread + 1, unseen: this.counts.unseen + 1 }
    if (id !== undefined) this.cursor = id
  }
}

const op = fc.constantFrom<MarkOp>('read', 'unread', 'seen', 'archived')
const nth = fc.nat({ max: 20 })
const step = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      to: fc.constantFrom('user', 'topic', 'everyone'),
      times: fc.integer({ min: 1, max: 3 }),
      key: fc.option(fc.constantFrom('a', 'b'), { nil: undefined }),
      ephemeral: fc.boolean()
    })
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('mark' as const), op, nth, upTo: fc.boolean() })
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('recall' as const), nth }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('expire' as const), shared: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('erase' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('beat' as const) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('stream' as const) }) },
  // `taken`: how many of the frames the client applies before its stream is cut, or before a poll's
  // response is lost half way.
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('cut' as const), taken: fc.nat({ max: 12 }) })
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('poll' as const),
      limit: fc.integer({ min: 1, max: 4 }),
      waits: fc.boolean(),
      taken: fc.nat({ max: 12 })
    })
  }
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

function hubOver(t: Test, store: Store): Hub {
  const settings = {
    heartbeatMs: 3_600_000,
    maxBufferedBytes: 1 << 24,
    stallMs: 60_000,
    maxConnections: 0
  }
  const more = { maxConnectionsPerUser: 0, maxConnectionsPerIp: 0, maxConnectionAgeMs: 3_600_000 }
  const hub = new Hub(
    store,
    'node',
    new SingleNode('node', 0),
    { ...settings, ...more },
    observe({ failed: (_connection, error) => t.error(error) })
  )
  t.teardown(() => hub.stop())
  return hub
}

let users = 0

/** One client with a user and a topic of its own: carries out the steps, then checks its counts. */
async function live(store: Store, hub: Hub, steps: readonly Step[]): Promise<void> {
  const user = `u${++users}`
  const topic = `t-${user}`
  const scope = scopeOf(user, [topic])
  const subscriber = { user, topics: [topic] }
  const client = new Client()
  const ids: string[] = []
  let open: { readonly wire: Wire; readonly connection: Connection; taken: number } | undefined

  const settled = async (connection: Receiver): Promise<void> => {
    // A read is under way until the store has answered.
    while (connection.phase === 'replaying') await new Promise((resolve) => setImmediate(resolve))
  }
  const take = (taken: number): void => {
    if (!open) return
    const news = open.wire.frames.slice(open.taken, open.taken + taken)
    open.taken += news.length
    for (const frame of news) client.apply(frame)
  }
  const cut = (): void => {
    open?.connection.close('gone')
    open = undefined
  }
  const poll = (limit: number, waits: boolean): Promise<PollAnswer> =>
    new Promise((resolve) => {
      const sink = new PollSink('127.0.0.1', resolve)
      const connection = hub.poll({
        subscriber,
        sink,
        codec: pollCodec,
        cursor: client.cursor,
        limit,
        waits
      })
      sink.connect(connection)
      if (waits) void settled(connection).then(() => connection.close('closed'))
    })
  const answerOf = async (limit: number, waits: boolean) => {
    const { events, cursor, more } = await poll(limit, waits)
    const frames = JSON.parse(`[${events}]`) as Frame[]
    const logged = frames.filter(
      ({ event, data }) =>
        event === 'state' || (event === 'notification' && data.item!.cursor !== null)
    )
    if (logged.length > limit)
      throw new Error(`${logged.length} events of the log for a limit of ${limit}`)
    const beats = frames.flatMap(({ event }, i) => (event === 'heartbeat' ? [i] : []))
    if (beats.length > 1 || (beats.length === 1 && beats[0] !== frames.length - 1))
      throw new Error(`heartbeats at ${beats} of ${frames.length}`)
    return { frames, cursor: cursor!, more }
  }
  const pollOnce = async (
    limit: number,
    waits = false
  ): Promise<{ more: boolean; frames: number }> => {
    const { frames, cursor, more } = await answerOf(limit, waits)
    for (const frame of frames) client.apply(frame)
    client.cursor = cursor
    return { more, frames: frames.length }
  }
  const check = async (how: string): Promise<void> => {
    const wanted = await store.counts(user, scope)
    const { counts } = client
    if (counts.unread !== wanted.unread || counts.unseen !== wanted.unseen)
      throw new Error(
        `${how}: the client has ${JSON.stringify(counts)}, the inbox ${JSON.stringify(wanted)}`
      )
  }

  await pollOnce(1)
  for (const next of steps) {
    switch (next.do) {
      case 'publish': {
        const to: Recipients =
          next.to === 'user' ? { user } : next.to === 'topic' ? { topic } : { everyone: true }
        const items = Array.from({ length: next.times }, () =>
          publication(to, { key: next.key, ephemeral: next.ephemeral && next.times === 1 })
        )
        ids.push(...items.map(({ id }) => id))
        await store.publish(items)
        break
      }
      case 'mark': {
        const target = next.upTo
          ? {
              upTo: store.logOf(user).head - next.nth < 0 ? 0 : store.logOf(user).head - next.nth,
              scope
            }
          : { ids: [ids[next.nth % Math.max(1, ids.length)] ?? 'nothing'], allows: () => true }
        await store.mark(user, next.op, target)
        break
      }
      case 'recall':
        await store.recall(ids[next.nth % Math.max(1, ids.length)] ?? 'nothing')
        break
      case 'expire': {
        const expiresAt = Date.now() + 25
        await store.publish([publication(next.shared ? { topic } : { user }, { expiresAt })])
        await clockPast(expiresAt)
        // The store removes what has expired by itself; this write waits until it has.
        await store.publish([publication({ user: 'nobody' })])
        break
      }
      case 'erase':
        await store.erase(user)
        break
      case 'beat':
        if (open) {
          open.connection.beat(performance.now() + 3_600_000)
          await settled(open.connection)
        }
        break
      case 'stream': {
        if (open) break
        const wire = new Wire()
        const connection = hub.open({
          subscriber,
          sink: wire,
          codec: sseCodec,
          cursor: client.cursor
        })
        open = { wire, connection, taken: 0 }
        await settled(connection)
        break
      }
      case 'cut':
        take(next.taken)
        cut()
        break
      case 'poll': {
        cut()
        const { frames, cursor } = await answerOf(next.limit, next.waits)
        for (const frame of frames.slice(0, next.taken)) client.apply(frame)
        if (next.taken >= frames.length) client.cursor = cursor
      }
    }
  }
  if (open) {
    // A stream has caught up once all its frames are applied, the next heartbeat included.
    await settled(open.connection)
    open.connection.beat(performance.now() + 3_600_000)
    await settled(open.connection)
    take(Number.POSITIVE_INFINITY)
    await check('on the stream')
    cut()
  }
  while ((await pollOnce(2)).more);
  await check('by polls')
  // The heartbeat with counts moved the cursor, so no other poll returns it again.
  if ((await pollOnce(2)).frames > 0)
    throw new Error('a client that has caught up received more frames')
  await check('by one poll more')
}

async function property(t: Test, store: Store, numRuns: number): Promise<void> {
  t.teardown(() => store.close())
  const hub = hubOver(t, store)
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25, size: 'max' }), (steps) =>
      live(store, hub, steps)
    ),
    { numRuns }
  )
  t.pass('every client that had caught up had the counts of the inbox')
}

t.test(
  'a client that catches up by any mix of streams and polls has the counts of the inbox',
  async (t) => {
    t.test('memory', async (t) =>
      property(t, await openStore(storeOptions('', { store: 'memory' })), 300)
    )
    t.test('sqlite', async (t) =>
      property(t, await openStore(storeOptions(tempDir(t), { sync: 'normal' })), 40)
    )
    t.test('redis', { skip: skipRedis }, async (t) =>
      property(
        t,
        await openStore(storeOptions('', { store: 'redis', redisUrl: await redisUrl(t) })),
        40
      )
    )
  }
)
