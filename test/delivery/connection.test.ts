import fc from 'fast-check'
import { test } from 'tap'
import { sseCodec } from '../../src/delivery/codec.ts'
import { Connection } from '../../src/delivery/connection.ts'
import { EncodedEvent } from '../../src/delivery/encoded-event.ts'
import { FanOut } from '../../src/delivery/fan-out.ts'
import type { CloseReason } from '../../src/delivery/goodbye.ts'
import type { ReceiverHost } from '../../src/delivery/receiver.ts'
import type { Sink } from '../../src/delivery/sink.ts'
import { formatCursor } from '../../src/log/cursor.ts'
import type { LoggedEvent } from '../../src/log/event.ts'
import type { CursorStatus, LogPage, Store } from '../../src/log/store.ts'
import { observe } from '../fixtures/observe.ts'

const EPOCH = 'e1'

/** A sink that throws when it is written to after its end. */
class StrictSink implements Sink {
  readonly transport = 'sse'
  readonly remoteAddress = '127.0.0.1'
  readonly peer = null
  bufferedBytes = 0
  ended = false
  full = false
  text = ''
  write(bytes: Buffer): boolean {
    if (this.ended) throw new Error('written to after its end')
    this.text += bytes
    if (this.full) this.bufferedBytes += bytes.length
    return !this.full
  }
  end(last: Buffer | null): void {
    if (this.ended) throw new Error('ended twice')
    if (last) this.write(last)
    this.ended = true
  }
  destroy(): void {
    if (this.ended) throw new Error('ended twice')
    this.ended = true
  }
}

/** A log of one user and one topic, whose reads answer only when the test says so. */
class SlowLog {
  readonly events: LoggedEvent[] = []
  readonly #pending: (() => void)[] = []
  asked = 0

  readonly epoch = EPOCH
  readonly oldest = 0
  readonly healthy = true

  get head(): number {
    return this.events.length
  }

  cursorStatus(_epoch: string, seq: number): CursorStatus {
    return seq > this.head ? 'undone' : 'held'
  }

  append(personal: boolean): LoggedEvent {
    const seq = this.head + 1
    const event: LoggedEvent = {
      kind: 'notification',
      op: 'created',
      channel: personal ? 'user:u' : 'topic:t',
      seq,
      entry: { id: `n${seq}`, seq, content: '"type":"t","level":"info"', createdAt: 0, times: 0 }
    }
    this.events.push(event)
    return event
  }

  /** Answers the oldest pending read, with the log as it is now. */
  answer(): void {
    this.#pending.shift()?.()
  }

  asStore(): Store {
    const later = <T>(make: () => T): Promise<T> => {
      this.asked++
      return new Promise((resolve) => this.#pending.push(() => resolve(make())))
    }
    const counts = () => ({ unread: this.head, unseen: this.head })
    return {
      kind: 'memory',
      logOf: () => this,
      inbox: () => later(() => ({ items: [], counts: counts(), head: this.head, more: false })),
      read: (_user: string, _scope: readonly string[], after: number, limit: number) =>
        later<LogPage>(() => {
          const rest = this.events.slice(after)
          const more = rest.length > limit
          return {
            events: rest.slice(0, limit),
            upTo: more ? after + limit : this.head,
            more,
            counts: counts(),
            recount: false
          }
        })
    } as unknown as Store
  }
}

type Step =
  | 'append-personal'
  | 'append-shared'
  | 'follow'
  | 'answer'
  | 'block'
  | 'drain'
  | 'beat'
  | 'recount'
  | CloseReason
const LIVING: readonly Step[] = [
  'append-personal',
  'append-shared',
  'follow',
  'answer',
  'block',
  'drain',
  'beat',
  'recount'
]

/** The phases of a connection, split by what waits for the client. */
const STAGES = [
  'starting',
  'live',
  'blocked',
  'queueing',
  'reading on',
  'behind and reading on',
  'cut off'
] as const
type Stage = (typeof STAGES)[number]

interface Life {
  /** Resolves when it first goes live, or ends before that. */
  readonly begun: Promise<void>
  /** How often the log was read. */
  readonly asked: () => number
  stage(): Stage
  readonly sink: StrictSink
  readonly connection: Connection
  readonly log: SlowLog
  readonly closed: CloseReason[]
  step(step: Step): Promise<void>
}

function born(start: number | undefined): Life {
  const log = new SlowLog()
  for (let i = 0; i < (start ?? 0) + 3; i++) log.append(i % 2 === 0)
  const sink = new StrictSink()
  const closed: CloseReason[] = []
  const host: ReceiverHost = {
    store: log.asStore(),
    heartbeatMs: 1000,
    maxBufferedBytes: 5_000,
    stallMs: 1000,
    node: 'c',
    closed: (_connection, reason) => closed.push(reason),
    observer: observe({
      failed: (_connection, error) => {
        throw error
      }
    })
  }
  const fanOut = new FanOut(log, { of: () => [] }, host.observer)
  const connection = new Connection(host, {
    number: 1,
    fanOut,
    user: 'u',
    topics: ['t'],
    sink,
    codec: sseCodec,
    cursor: start === undefined ? undefined : formatCursor(EPOCH, start),
    items: 25,
    closeAt: Number.POSITIVE_INFINITY,
    closeReason: 'rotate'
  })
  const begun = connection.begin()
  let wasLive = false
  let queued = false
  const look = (): Stage => {
    const { phase } = connection
    if (phase === 'closed') return 'cut off'
    if (phase === 'replaying')
      return queued ? 'behind and reading on' : wasLive ? 'reading on' : 'starting'
    wasLive = true
    queued = connection.bufferedBytes > sink.bufferedBytes
    return phase === 'live' ? 'live' : queued ? 'queueing' : 'blocked'
  }
  return {
    sink,
    connection,
    log,
    closed,
    begun,
    asked: () => log.asked,
    stage: look,
    async step(step) {
      look()
      if (step === 'append-personal' || step === 'append-shared')
        log.append(step === 'append-personal')
      else if (step === 'follow') {
        const news = log.events.slice(fanOut.position)
        fanOut.restart(log.head)
        connection.deliver(news.map((event) => new EncodedEvent(event, EPOCH)))
      } else if (step === 'answer') {
        log.answer()
        await new Promise((resolve) => setImmediate(resolve))
      } else if (step === 'block') sink.full = true
      else if (step === 'drain') {
        sink.full = false
        sink.bufferedBytes = 0
        queued = false
        connection.drained()
        await new Promise((resolve) => setImmediate(resolve))
      } else if (step === 'beat') connection.beat(performance.now() + 10_000)
      else if (step === 'recount') connection.invalidateCounts()
      else connection.close(step)
    }
  }
}

/** The seq at which the stream began: that of the cursor it came with, or of its `ready`. */
const firstOf = (from: number | undefined, text: string): number =>
  from ?? Number(/event: ready\n.*\nid: e1-(\d+)/.exec(text)?.[1])
const LIVES = 5000
/** Share of the lives that must end in each stage: a stage hardly ever reached is not tested. */
const LEAST_SHARE = 0.02
const idsOf = (text: string): string[] =>
  [...text.matchAll(/"item":\{"id":"(n\d+)"/g)].map((match) => match[1]!)
const start = fc.option(fc.nat({ max: 250 }), { nil: undefined })

const often =
  (...steps: Step[]) =>
  (times: number) =>
    Array.from({ length: times }, () => steps).flat()
/** Steps drawn one by one hardly ever leave a client behind for long; these sequences do. */
const passage: fc.Arbitrary<readonly Step[]> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...LIVING).map((step) => [step]) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 4 }).map(often('answer')) },
  { weight: 2, arbitrary: fc.integer({ min: 2, max: 12 }).map(often('append-shared', 'follow')) },
  { weight: 1, arbitrary: fc.integer({ min: 2, max: 12 }).map(often('append-personal', 'follow')) },
  // A client that stops reading, and a queue that grows.
  {
    weight: 4,
    arbitrary: fc
      .integer({ min: 1, max: 12 })
      .map((times) => [
        ...often('answer')(3),
        'block' as const,
        ...often('append-shared', 'follow')(times)
      ])
  },
  {
    weight: 2,
    arbitrary: fc.constant<readonly Step[]>([
      ...often('answer')(3),
      'drain',
      'block',
      'append-shared',
      'follow'
    ])
  },
  // Only the store knows the counts: the connection reads again, whatever waits for the client.
  { weight: 4, arbitrary: fc.constant<readonly Step[]>(['recount', 'append-personal', 'follow']) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 4 }).map(often('drain', 'answer')) }
)
const lifeOf = (passages: number): fc.Arbitrary<Step[]> =>
  fc.array(passage, { maxLength: passages, size: 'max' }).map((list) => list.flat())

test('5,000 random connections write nothing after their end, close once, and deliver each event once, in order', async (t) => {
  const endedIn = new Map<Stage, number>()
  const ending = fc.constantFrom<CloseReason>(
    'drain',
    'gone',
    'slow',
    'revoked',
    'stale',
    'closed',
    'expired'
  )
  await fc.assert(
    fc.asyncProperty(
      start,
      lifeOf(12),
      ending,
      fc.array(fc.constantFrom(...LIVING), { maxLength: 8 }),
      async (from, life, end, afterlife) => {
        const one = born(from)
        for (const step of life) await one.step(step)
        const stage = one.stage()
        endedIn.set(stage, (endedIn.get(stage) ?? 0) + 1)
        await one.step(end)
        await one.step('closed')
        const written = one.sink.text
        for (const step of afterlife) await one.step(step)
        if (one.sink.text !== written) throw new Error('written to after the end')
        if (!one.sink.ended) throw new Error('the sink was never ended')
        if (one.closed.length !== 1) throw new Error(`closed ${one.closed.length} times`)
        const ids = idsOf(written)
        const first = firstOf(from, written)
        const expected = ids.map((_, i) => `n${first + i + 1}`)
        if (ids.join() !== expected.join()) throw new Error(`expected ${expected}, got ${ids}`)
        const sent = Number([...written.matchAll(/^id: e1-(\d+)$/gm)].at(-1)?.[1] ?? 0)
        if (sent > first + ids.length)
          throw new Error(`sent the cursor ${sent}, but delivered only up to ${first + ids.length}`)
      }
    ),
    { numRuns: LIVES }
  )
  for (const stage of STAGES) {
    const share = (endedIn.get(stage) ?? 0) / LIVES
    t.ok(share >= LEAST_SHARE, `${(100 * share).toFixed(1)} % of the lives ended ${stage}`)
  }
})

test('after any sequence of steps a client that catches up has every event, and its cursor is the head of the log', async (t) => {
  let settled = 0
  await fc.assert(
    fc.asyncProperty(start, lifeOf(15), async (from, life) => {
      const one = born(from)
      for (const step of life) await one.step(step)
      for (let i = 0; i < 12; i++)
        for (const step of ['follow', 'drain', 'answer'] as const) await one.step(step)
      if (one.closed.length > 0) {
        if (one.closed.join() !== 'slow') throw new Error(`closed as ${one.closed}`)
        return // over its buffer limit
      }
      settled++
      const first = firstOf(from, one.sink.text)
      const expected = Array.from({ length: one.log.head - first }, (_, i) => `n${first + i + 1}`)
      if (idsOf(one.sink.text).join() !== expected.join())
        throw new Error(`expected ${expected}, got ${idsOf(one.sink.text)}`)
      if (one.connection.cursor !== formatCursor(EPOCH, one.log.head))
        throw new Error(`cursor ${one.connection.cursor}, head ${one.log.head}`)
      const cursors = [...one.sink.text.matchAll(/^id: e1-(\d+)$/gm)].map((match) =>
        Number(match[1])
      )
      if (cursors.some((cursor, i) => i > 0 && cursor < cursors[i - 1]!))
        throw new Error(`a cursor went back: ${cursors}`)
    }),
    { numRuns: 1000 }
  )
  t.ok(settled > 500, `${settled} of 1000 lives settled`)
})

test('a client that never reads is closed as slow at the limit of its buffer', async (t) => {
  const one = born(undefined)
  await one.step('answer')
  await one.step('block')
  for (let i = 0; i < 500 && one.closed.length === 0; i++) {
    await one.step('append-shared')
    await one.step('follow')
  }
  t.same(one.closed, ['slow'])
  t.equal(one.connection.bufferedBytes, 0)
})

test('a goodbye never carries a cursor beyond what was written, not even while a slow client replays', async (t) => {
  const one = born(undefined)
  await one.step('answer')
  await one.step('block')
  const behind = ['append-shared', 'follow', 'append-shared', 'follow'] as const
  for (const step of behind) await one.step(step)
  t.equal(one.connection.phase, 'blocked', 'the second event waits in the queue')
  for (const step of ['recount', 'append-personal', 'follow'] as const) await one.step(step)
  t.equal(one.connection.phase, 'replaying')
  await one.step('drain')
  const other = born(undefined)
  for (const step of [
    'answer',
    'block',
    ...behind,
    'recount',
    'append-personal',
    'follow'
  ] as const)
    await other.step(step)
  other.connection.close('drain')
  t.same(idsOf(other.sink.text), ['n4', 'n5'])
  t.match(other.sink.text, /event: goodbye\n.*\nid: e1-5\n\n$/)
})

test('a long replay is read page by page, the next page only after the client took the last one', async (t) => {
  const one = born(0)
  for (let i = 0; i < 500; i++) one.log.append(false)
  await one.step('block')
  await one.step('answer')
  t.equal(idsOf(one.sink.text).length, 100)
  for (const step of ['answer', 'follow', 'answer'] as const) await one.step(step)
  t.equal(one.asked(), 1, 'no page is read ahead for a client that does not read')
  await one.step('drain')
  t.equal(one.asked(), 2)
  for (let i = 0; i < 6; i++) for (const step of ['answer', 'drain'] as const) await one.step(step)
  t.equal(idsOf(one.sink.text).length, one.log.head)
  t.equal(one.connection.phase, 'live')
})

test('a replay that waits for a slow client ends when the client leaves', async (t) => {
  const one = born(0)
  for (let i = 0; i < 500; i++) one.log.append(false)
  await one.step('block')
  await one.step('answer')
  t.equal(one.connection.phase, 'replaying')
  await one.step('gone')
  await one.begun
  t.equal(one.asked(), 1)
  t.same(one.closed, ['gone'])
})
