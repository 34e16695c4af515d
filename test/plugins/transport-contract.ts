import { once } from 'node:events'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import { eventually } from '../fixtures/eventually.ts'
import { jwt } from '../fixtures/jwt.ts'
import {
  call,
  connectionsOf,
  type Frame,
  MONITOR_KEY,
  openStream,
  PUBLISH_KEY,
  publish,
  type Service,
  tokenOf
} from '../service/harness.ts'

interface Counts {
  readonly unread: number
  readonly unseen: number
}

/**
 * The counts a client arrives at: those it receives, plus one for each new notification without
 * counts.
 */
const countsAfter = (before: Counts, { event, data }: Frame): Counts =>
  data.counts ??
  (event === 'notification' && data.op === 'created' && data.item.cursor !== null
    ? { unread: before.unread + 1, unseen: before.unseen + 1 }
    : before)

/**
 * How a connection ended: the reason of its goodbye, the close code of a WebSocket, the status of a
 * poll.
 */
export interface End {
  readonly reason?: string | undefined
  readonly retryMs?: number | null | undefined
  readonly code?: number
  readonly status?: number
}

/** A client of any transport: its events in order, and how its connection ended. */
export interface Reader {
  readonly frames: Frame[]
  /** Waits for the first frame that fits. */
  until(fits: (frame: Frame) => boolean): Promise<Frame>
  readonly ended: Promise<End>
  close(): void
  /** Stops reading. */
  pause(): void
  resume(): void
}

/** What a client connects with. */
export interface ReadOptions {
  readonly token: string
  /** The cursor to resume from. */
  readonly since?: string | undefined
  readonly query?: string
}

type Reason = 'revoked' | 'expired' | 'limit' | 'closed' | 'rotate' | 'drain'

/** A transport under test. */
export interface Transport {
  /** Its name in `/monitor`. */
  readonly name: 'sse' | 'websocket' | 'poll'
  open(t: Test, service: Service, options: ReadOptions): Promise<Reader>
  /** The status of a request that is rejected with an HTTP error. */
  refused(service: Service, query: string, headers: Record<string, string>): Promise<number>
  /** How each reason ends a connection; a missing one ends no connection of this transport. */
  readonly ends: Partial<Record<Reason, End>>
}

const address = (base: string, { since, query = '' }: ReadOptions): string =>
  `${base}?${new URLSearchParams(since === undefined ? {} : { since })}&${query}`

/** Collects frames, and waits for those that a test expects. */
class Frames {
  readonly all: Frame[] = []
  readonly #waiting = new Set<() => void>()
  #over = false

  add(...frames: Frame[]): void {
    this.all.push(...frames)
    for (const look of [...this.#waiting]) look()
  }

  end(): void {
    this.#over = true
    for (const look of [...this.#waiting]) look()
  }

  until(fits: (frame: Frame) => boolean): Promise<Frame> {
    return new Promise((resolve, reject) => {
      const seen = (): string => JSON.stringify(this.all.map(({ event }) => event).slice(-20))
      const timer = setTimeout(
        () => done(() => reject(new Error(`no such frame within 20 s; got ${seen()}`))),
        20_000
      )
      const done = (settle: () => void): void => {
        clearTimeout(timer)
        this.#waiting.delete(look)
        settle()
      }
      const look = (): void => {
        const found = this.all.find(fits)
        if (found) done(() => resolve(found))
        else if (this.#over) done(() => reject(new Error(`it ended without it; got ${seen()}`)))
      }
      this.#waiting.add(look)
      look()
    })
  }
}

const goodbyeIn = (frames: readonly Frame[]): Pick<End, 'reason' | 'retryMs'> => {
  const goodbye = frames.find(({ event }) => event === 'goodbye')
  return { reason: goodbye?.data.reason, retryMs: goodbye?.data.retryMs }
}

export const sse: Transport = {
  name: 'sse',
  async open(t, service, options) {
    const stream = await openStream(t, address(`${service.url}/v1/stream`, options), {
      token: options.token
    })
    return {
      ...stream,
      ended: stream.ended.then(() => goodbyeIn(stream.frames)),
      until: (fits) => stream.until(fits)
    }
  },
  refused: async (service, query, headers) =>
    (await call('GET', `${service.url}/v1/stream?${query}`, { headers })).status,
  ends: {
    revoked: { reason: 'revoked', retryMs: null },
    expired: { reason: 'expired', retryMs: null },
    limit: { reason: 'limit' },
    closed: { reason: 'closed' },
    rotate: { reason: 'rotate' },
    drain: { reason: 'drain' }
  }
}

export const webSocket: Transport = {
  name: 'websocket',
  async open(t, service, options) {
    const client = new WebSocket(address(`${service.url}/v1/socket`, options), {
      headers: { authorization: `Bearer ${options.token}` }
    })
    t.teardown(() => client.terminate())
    client.on('error', () => {})
    const frames = new Frames()
    client.on('message', (message: Buffer, isBinary) => {
      if (isBinary) throw new Error('a binary message')
      frames.add({ id: undefined, raw: message.toString(), ...JSON.parse(message.toString()) })
    })
    const ended = new Promise<End>((resolve) => {
      client.once('close', (code) => {
        frames.end()
        resolve({ code, ...goodbyeIn(frames.all) })
      })
    })
    await once(client, 'open')
    return {
      frames: frames.all,
      until: (fits) => frames.until(fits),
      ended,
      close: () => client.close(),
      pause: () => client.pause(),
      resume: () => client.resume()
    }
  },
  async refused(service, query, headers) {
    const client = new WebSocket(`${service.url}/v1/socket?${query}`, { headers })
    client.on('error', () => {})
    const [request, response] = await once(client, 'unexpected-response')
    request.destroy()
    return response.statusCode
  },
  ends: {
    revoked: { reason: 'revoked', retryMs: null, code: 4401 },
    expired: { reason: 'expired', retryMs: null, code: 4401 },
    limit: { reason: 'limit', code: 4429 },
    closed: { reason: 'closed', code: 4000 },
    rotate: { reason: 'rotate', code: 1001 },
    drain: { reason: 'drain', code: 1001 }
  }
}

export const longPoll: Transport = {
  name: 'poll',
  async open(t, service, { token, since, query = '' }) {
    const frames = new Frames()
    const leave = new AbortController()
    t.teardown(() => leave.abort())
    let cursor = since
    let going: Promise<void> | undefined
    let go = (): void => {}
    const poll = async (): Promise<End> => {
      for (;;) {
        await going
        const after = cursor === undefined ? '' : `&since=${encodeURIComponent(cursor)}`
        const response = await fetch(`${service.url}/v1/changes?wait=30&${query}${after}`, {
          headers: { authorization: `Bearer ${token}` },
          signal: leave.signal
        })
        if (response.status !== 200) return { status: response.status }
        const { events, cursor: next } = (await response.json()) as {
          events: Frame[]
          cursor: string
        }
        cursor = next
        frames.add(...events.map((event) => ({ ...event, raw: JSON.stringify(event) })))
      }
    }
    const ended = poll()
      .catch((): End => ({}))
      .finally(() => frames.end())
    return {
      frames: frames.all,
      until: (fits) => frames.until(fits),
      ended,
      close: () => leave.abort(),
      pause: () => {
        going = new Promise((resolve) => {
          go = resolve
        })
      },
      resume: () => go()
    }
  },
  refused: async (service, query, headers) =>
    (await call('GET', `${service.url}/v1/changes?${query}`, { headers })).status,
  // When its credential ends, a waiting poll returns no events, and the next poll is rejected.
  ends: { revoked: { status: 401 }, expired: { status: 401 }, limit: { status: 429 } }
}

export const TRANSPORTS = [sse, webSocket, longPoll] as const

/** The services of all tests; each test has users of its own. */
export interface Services {
  readonly plain: Service
  /** One connection per user, short stall times, a heartbeat twice a second. */
  readonly strict: Service
  /** Connections are closed after a second. */
  readonly aged: Service
}

let users = 0
const newUser = (): string => `reader-${++users}`
/** A topic that no other test reads. */
const topicOf = (user: string): string => `news:${user}`
const isNotification = ({ event }: Frame): boolean => event === 'notification'
const number = (n: number) => (frame: Frame) => frame.data.item?.data?.n === n
const upToNow = (frames: readonly Frame[]) =>
  frames.filter(({ event }) => event === 'notification' || event === 'state')

/**
 * Tests what all transports have in common: the same events and cursors, and the same reasons to
 * end.
 */
export function transportContract(
  t: Test,
  transport: Transport,
  { plain, strict, aged }: Services
): void {
  t.test(
    'a new connection receives the first page, then every event with counts and cursors',
    async (t) => {
      const user = newUser()
      const token = tokenOf(user, [topicOf(user)])
      await publish(plain, { to: { user }, title: 'before' })
      const reader = await transport.open(t, plain, { token })
      const ready = await reader.until(({ event }) => event === 'ready')
      t.equal(reader.frames[0], ready)
      t.match(ready.data, {
        user,
        topics: [topicOf(user)],
        resumed: false,
        items: [{ title: 'before' }],
        counts: { unread: 1, unseen: 1 }
      })
      const { body } = await publish(plain, { to: { user }, title: 'Hi' })
      const created = await reader.until((f) => f.data.item?.title === 'Hi')
      t.match(created.data, {
        op: 'created',
        item: { id: body.id, seen: false },
        counts: { unread: 2, unseen: 2 }
      })
      t.equal(created.id, created.data.item.cursor)
      await publish(plain, { to: { topic: topicOf(user) }, title: 'All' })
      const shared = await reader.until((f) => f.data.item?.title === 'All')
      t.match(shared.data, { counts: undefined, item: { topic: topicOf(user) } })
      await call('POST', `${plain.url}/v1/inbox/read`, { key: token, body: { ids: [body.id] } })
      const state = await reader.until(({ event }) => event === 'state')
      t.match(state.data, {
        op: 'read',
        ids: [body.id],
        upTo: null,
        counts: { unread: 2, unseen: 2 }
      })
      await eventually(async () => (await waitingOf(plain, user)) === 1)
      await publish(plain, { to: { user }, title: 'gone soon', ephemeral: true })
      const ephemeral = await reader.until((f) => f.data.item?.title === 'gone soon')
      t.match(ephemeral.data, { item: { cursor: null }, counts: { unread: 2, unseen: 2 } })
      t.equal(ephemeral.id, state.id, 'an ephemeral event repeats the cursor before it')
    }
  )

  t.test('after a resume the client arrives at the exact counts', async (t) => {
    const user = newUser()
    const topic = topicOf(user)
    const token = tokenOf(user, [topic])
    const { id: kept } = (await publish(strict, { to: { topic }, title: 'kept' })).body
    const { cursor: since } = (await call('GET', `${strict.url}/v1/inbox?limit=1`, { key: token }))
      .body
    await publish(strict, { to: { user } })
    await publish(strict, { to: { topic } })
    const reader = await transport.open(t, strict, { token, since })
    const told = (n: number) => (f: Frame) => f.event === 'heartbeat' && f.data.counts?.unread === n
    await reader.until(told(3))
    t.strictSame(reader.frames.reduce(countsAfter, { unread: 1, unseen: 1 }), {
      unread: 3,
      unseen: 3
    })
    await call('DELETE', `${strict.url}/v1/notifications/${kept}`, { key: PUBLISH_KEY })
    await reader.until(told(2))
    t.strictSame(reader.frames.reduce(countsAfter, { unread: 1, unseen: 1 }), {
      unread: 2,
      unseen: 2
    })
  })

  t.test('text of any length arrives unchanged', async (t) => {
    const user = newUser()
    const reader = await transport.open(t, plain, { token: tokenOf(user) })
    await reader.until(({ event }) => event === 'ready')
    // Lengths at which the header of a WebSocket frame grows, and characters special in SSE, JSON
    // or HTML.
    const texts = [
      '',
      'x'.repeat(3_900),
      '\u2028\u2029\r\n\0"\\',
      'data: forged\n\nid: 1\n\n',
      '🔔'.repeat(1_900),
      '</script>'
    ]
    for (const [n, body] of texts.entries()) {
      t.equal(
        (
          await publish(plain, {
            to: { user },
            body,
            data: { n, long: 'é'.repeat(n === 1 ? 4_000 : 0) }
          })
        ).status,
        201
      )
      const frame = await reader.until(number(n))
      t.equal(frame.data.item.body, body)
    }
  })

  t.test('a first page larger than 64 KiB arrives as one event', async (t) => {
    const user = newUser()
    for (let n = 0; n < 20; n++)
      await publish(plain, { to: { user }, body: 'x'.repeat(4_000), data: { n } })
    const reader = await transport.open(t, plain, { token: tokenOf(user) })
    const { data } = await reader.until(({ event }) => event === 'ready')
    t.equal(data.items.length, 20)
  })

  t.test('a resume delivers every later event once and in order, over many pages', async (t) => {
    const user = newUser()
    const token = tokenOf(user, [topicOf(user)])
    const first = await transport.open(t, plain, { token })
    const { id } = await first.until(({ event }) => event === 'ready')
    first.close()
    for (let n = 0; n < 230; n += 115) await publishAll(plain, user, n, 115)
    const reader = await transport.open(t, plain, { token, since: id })
    await reader.until(number(229))
    const mine = reader.frames.filter(isNotification)
    t.strictSame(
      mine.map((f) => f.data.item.data.n),
      Array.from({ length: 230 }, (_, n) => n)
    )
    t.equal(new Set(mine.map((f) => f.id)).size, 230)
  })

  t.test(
    'a cursor that cannot be resumed gets a reset with the reason and the first page',
    async (t) => {
      const user = newUser()
      const token = tokenOf(user)
      await publish(plain, { to: { user }, title: 'kept' })
      const first = await transport.open(t, plain, { token })
      const { id } = await first.until(({ event }) => event === 'ready')
      first.close()
      for (const [since, reason] of [
        [`${id!.split('-')[0]}-99999999`, 'cursor_unknown'],
        ['zzzzzzzz-1', 'store_changed'],
        ['rubbish', 'cursor_unknown']
      ] as const) {
        const reader = await transport.open(t, plain, { token, since })
        const reset = await reader.until(({ event }) => event === 'reset')
        t.match(reset.data, {
          reason,
          items: [{ title: 'kept' }],
          counts: { unread: 1, unseen: 1 }
        })
        reader.close()
      }
    }
  )

  t.test('clients of different transports receive the same events and cursors', async (t) => {
    const user = newUser()
    const token = tokenOf(user, [topicOf(user)])
    const other = transport === sse ? webSocket : sse
    const one = await other.open(t, plain, { token })
    const { id } = await one.until(({ event }) => event === 'ready')
    const two = await transport.open(t, plain, { token, since: id })
    for (let n = 0; n < 30; n++) {
      const to = n % 3 === 0 ? { topic: topicOf(user) } : { user }
      const { body } = await publish(plain, {
        to,
        data: { n },
        ...(n % 5 === 0 ? { key: 'k' } : {})
      })
      if (n % 4 === 0)
        await call('POST', `${plain.url}/v1/inbox/read`, { key: token, body: { ids: [body.id] } })
    }
    await Promise.all([one.until(number(29)), two.until(number(29))])
    const [a, b] = [one, two].map((reader) =>
      upToNow(reader.frames).map(({ event, id, data }) => ({
        event,
        id,
        data: { ...data, counts: 0 }
      }))
    )
    t.strictSame(a, b)
  })

  t.test('a client may switch transports after any event and misses none', async (t) => {
    const user = newUser()
    const token = tokenOf(user, [topicOf(user)])
    const start = await transport.open(t, plain, { token })
    let { id: cursor } = await start.until(({ event }) => event === 'ready')
    start.close()
    const got: number[] = []
    const ways = [transport, ...TRANSPORTS.filter((other) => other !== transport)]
    for (let n = 0; n < 12; n++) {
      // Half of the events are published while no client is connected.
      const waits = n % 2 === 0
      if (waits) await publish(plain, { to: { user }, data: { n } })
      const reader = await ways[n % 2 === 0 ? 0 : 1 + ((n >> 1) % 2)]!.open(t, plain, {
        token,
        since: cursor
      })
      if (!waits) await publish(plain, { to: { user }, data: { n } })
      const next = await reader.until(isNotification)
      got.push(next.data.item.data.n)
      cursor = next.id
      reader.close()
    }
    t.strictSame(
      got,
      Array.from({ length: 12 }, (_, n) => n)
    )
  })

  t.test('a wrong credential, topic or query is an HTTP error', async (t) => {
    const user = newUser()
    t.equal(await transport.refused(plain, '', {}), 401)
    t.equal(await transport.refused(plain, '', { authorization: 'Bearer nonsense' }), 401)
    t.equal(
      await transport.refused(plain, 'topics=secret', {
        authorization: `Bearer ${tokenOf(user, [topicOf(user)])}`
      }),
      403
    )
    const bad = transport === longPoll ? 'limit=x' : 'items=x'
    t.equal(await transport.refused(plain, bad, { authorization: `Bearer ${tokenOf(user)}` }), 422)
  })

  t.test('a ticket opens one connection, once', async (t) => {
    const user = newUser()
    const { body } = await call('POST', `${plain.url}/v1/tickets`, {
      key: PUBLISH_KEY,
      body: { user }
    })
    t.equal(await transport.refused(plain, 'ticket=nonsense', {}), 401)
    const reader = await transport.open(t, plain, { token: '', query: `ticket=${body.ticket}` })
    t.match((await reader.until(({ event }) => event === 'ready')).data, { user })
    t.equal(await transport.refused(plain, `ticket=${body.ticket}`, {}), 401)
  })

  t.test('/monitor lists the connection until the client disconnects', async (t) => {
    const user = newUser()
    const reader = await transport.open(t, plain, { token: tokenOf(user) })
    await reader.until(({ event }) => event === 'ready')
    await eventually(async () => (await waitingOf(plain, user)) === 1)
    const { body } = await call('GET', `${plain.url}/monitor/connections?user=${user}`, {
      key: MONITOR_KEY
    })
    t.match(body.connections, [
      { user, transport: transport.name, state: 'live', remoteAddress: '127.0.0.1' }
    ])
    t.ok((await connectionsOf(plain)).byTransport[transport.name] >= 1)
    reader.close()
    await eventually(async () => (await waitingOf(plain, user)) === 0)
  })

  t.test('revoking a user ends their connection for good', async (t) => {
    const user = newUser()
    const reader = await transport.open(t, plain, { token: tokenOf(user) })
    await reader.until(({ event }) => event === 'ready')
    await eventually(async () => (await waitingOf(plain, user)) === 1)
    t.match(
      (await call('DELETE', `${plain.url}/v1/users/${user}/connections`, { key: PUBLISH_KEY }))
        .body,
      { closed: 1 }
    )
    t.match(await reader.ended, transport.ends.revoked!)
  })

  t.test('a connection ends within two seconds of the expiry of its credential', async (t) => {
    const exp = Math.floor(Date.now() / 1000) + 3
    const reader = await transport.open(t, plain, {
      token: jwt({ sub: newUser(), iat: exp - 60, exp })
    })
    await reader.until(({ event }) => event === 'ready')
    t.match(await reader.ended, transport.ends.expired!)
    const late = Date.now() - exp * 1000
    // Two seconds are promised, but the machine may be busy.
    t.ok(late >= -50 && late < 5_000, `${late} ms after`)
  })

  t.test(
    'a connection over the limit is refused with a retry time, and the others stay open',
    async (t) => {
      const user = newUser()
      const token = tokenOf(user)
      const first = await sse.open(t, strict, { token })
      await first.until(({ event }) => event === 'ready')
      const second = await transport.open(t, strict, { token })
      const end = await second.ended
      t.match(end, transport.ends.limit!)
      if (transport !== longPoll) t.ok(end.retryMs! >= 5_000 && end.retryMs! <= 30_000)
      t.equal(await waitingOf(strict, user), 1)
      const poll = await call('GET', `${strict.url}/v1/changes`, { key: token })
      t.match(
        poll,
        { status: 200, body: { events: [{ event: 'ready' }] } },
        'a poll that does not wait does not count as a connection'
      )
      first.close()
      await eventually(async () => (await waitingOf(strict, user)) === 0)
      const third = await transport.open(t, strict, { token })
      await third.until(({ event }) => event === 'ready')
    }
  )

  if (transport.ends.closed)
    t.test(
      'an operator or its age closes a connection, and the client may reconnect',
      async (t) => {
        const user = newUser()
        const reader = await transport.open(t, plain, { token: tokenOf(user) })
        const { data } = await reader.until(({ event }) => event === 'ready')
        await call('DELETE', `${plain.url}/monitor/connections/${data.connection}`, {
          key: MONITOR_KEY
        })
        const closed = await reader.ended
        t.match(closed, transport.ends.closed!)
        t.ok(closed.retryMs! >= 1_000 && closed.retryMs! <= 3_000)
        const old = await transport.open(t, aged, { token: tokenOf(user) })
        t.match(await old.ended, transport.ends.rotate!)
      }
    )

  if (transport.name !== 'poll')
    t.test('heartbeats advance the cursor past events for other users', async (t) => {
      const reader = await transport.open(t, strict, { token: tokenOf(newUser()) })
      const ready = await reader.until(({ event }) => event === 'ready')
      await publish(strict, { to: { user: newUser() } })
      const beat = await reader.until(({ event, id }) => event === 'heartbeat' && id !== ready.id)
      t.same(beat.data, {})
    })

  if (transport.name !== 'poll')
    t.test('a client that stops reading is cut off, while others receive everything', async (t) => {
      const frozen = newUser()
      const topic = `heavy-${transport.name}`
      const before = (await connectionsOf(strict)).closed.slow ?? 0
      const slow = await transport.open(t, strict, { token: tokenOf(frozen, [topic]) })
      const neighbour = await transport.open(t, strict, { token: tokenOf(newUser(), [topic]) })
      const { id } = await slow.until(({ event }) => event === 'ready')
      slow.pause()
      let n = 0
      while (((await connectionsOf(strict)).closed.slow ?? 0) === before) {
        const notifications = Array.from({ length: 50 }, () => ({
          to: { topic },
          type: 'heavy',
          body: 'x'.repeat(4_000),
          data: { n: n++ }
        }))
        await call('POST', `${strict.url}/v1/notifications/batch`, {
          key: PUBLISH_KEY,
          body: { notifications }
        })
      }
      t.equal(await waitingOf(strict, frozen), 0)
      await neighbour.until(number(n - 1))
      t.equal(neighbour.frames.filter(isNotification).length, n)
      slow.resume()
      const end = await slow.ended
      if (transport === webSocket) t.equal(end.code, 4408)
      t.equal(
        end.reason,
        undefined,
        'a goodbye would move the cursor past events that were never sent'
      )
      const had = slow.frames.filter(isNotification).length
      const again = await transport.open(t, strict, {
        token: tokenOf(frozen, [topic]),
        since: slow.frames.at(-1)?.id ?? id
      })
      await again.until(number(n - 1))
      t.equal(
        had + again.frames.filter(isNotification).length,
        n,
        'the client resumes where it stopped'
      )
    })
}

async function publishAll(
  service: Service,
  user: string,
  from: number,
  count: number
): Promise<void> {
  const notifications = Array.from({ length: count }, (_, i) => ({
    to: i % 2 ? { user } : { topic: topicOf(user) },
    type: 'test',
    data: { n: from + i }
  }))
  await call('POST', `${service.url}/v1/notifications/batch`, {
    key: PUBLISH_KEY,
    body: { notifications }
  })
}

/** How many open connections a user has. */
const waitingOf = async (service: Service, user: string): Promise<number> =>
  (await call('GET', `${service.url}/monitor/connections?user=${user}`, { key: MONITOR_KEY })).body
    .total
