import { test } from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import { jwt } from '../fixtures/jwt.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import {
  call,
  MONITOR_KEY,
  NODE_FLAGS,
  openStream,
  PUBLISH_KEY,
  publish,
  startService,
  tokenOf
} from './harness.ts'

/** Kills in one run; `npm run soak` sets more. */
const ROUNDS = Number(process.env['SOAK_ROUNDS'] ?? 5)

// Both ways to write: a bare socket, and the response object if the socket cannot be detached.
for (const detach of ['on', 'off'] as const)
  test(`a notification is durable, then in the stream, with counts (socket detached: ${detach})`, async (t) => {
    const service = await startService(t, { flags: NODE_FLAGS[detach] })
    const stream = await openStream(t, `${service.url}/v1/stream`, {
      token: tokenOf('u1', ['news'])
    })
    t.equal(stream.status, 200)
    t.equal(stream.headers['content-type'], 'text/event-stream; charset=utf-8')
    t.equal(stream.headers['cache-control'], 'no-store, no-transform')
    t.equal(stream.headers['x-accel-buffering'], 'no')
    t.equal(stream.headers['content-length'], undefined)
    t.ok(stream.headers['x-request-id'])
    const ready = await stream.until((f) => f.event === 'ready')
    t.match(ready.data, {
      user: 'u1',
      topics: ['news'],
      resumed: false,
      items: [],
      counts: { unread: 0, unseen: 0 },
      heartbeatMs: 15000
    })
    t.match(stream.text(), /^retry: [2-5]\d{3}\nevent: ready\n/)

    const one = await publish(service, { to: { user: 'u1' }, title: 'Hi' })
    t.equal(one.status, 201)
    t.equal(one.headers.get('location'), `/v1/notifications/${one.body.id}`)
    const created = await stream.until((f) => f.event === 'notification')
    t.match(created.data, {
      op: 'created',
      item: { id: one.body.id, title: 'Hi', level: 'info', readAt: null, seen: false, times: 0 },
      counts: { unread: 1, unseen: 1 }
    })
    t.equal(created.id, created.data.item.cursor)

    await publish(service, { to: { topic: 'news' }, title: 'All' })
    const shared = await stream.until((f) => f.data.item?.title === 'All')
    t.equal(shared.data.counts, undefined)
    t.equal(shared.data.item.topic, 'news')

    const read = await call('POST', `${service.url}/v1/inbox/read`, {
      key: tokenOf('u1', ['news']),
      body: { ids: [one.body.id] }
    })
    t.match(read.body, { affected: 1, counts: { unread: 1, unseen: 1 } })
    const state = await stream.until((f) => f.event === 'state')
    t.match(state.data, {
      op: 'read',
      ids: [one.body.id],
      upTo: null,
      counts: { unread: 1, unseen: 1 }
    })

    await publish(service, { to: { user: 'u1' }, title: 'gone soon', ephemeral: true })
    const ephemeral = await stream.until((f) => f.data.item?.title === 'gone soon')
    t.equal(ephemeral.id, state.id, 'an ephemeral notification repeats the cursor before it')
    t.equal(ephemeral.data.item.cursor, null)
    t.notMatch(stream.text(), /^:/m, 'no comment lines')
  })

test('a resumed stream or poll gets everything it missed, exactly once', async (t) => {
  const service = await startService(t)
  const token = tokenOf('u1', ['news'])
  const stream = await openStream(t, `${service.url}/v1/stream`, { token })
  const ready = await stream.until((f) => f.event === 'ready')
  stream.close()
  await stream.ended
  for (let n = 0; n < 251; n++)
    await publish(service, { to: n % 2 ? { user: 'u1' } : { topic: 'news' }, data: { n } })
  const again = await openStream(t, `${service.url}/v1/stream?since=${ready.id}`, { token })
  const resumed = await again.until((f) => f.event === 'ready')
  t.match(resumed.data, { resumed: true, items: [] })
  t.equal(resumed.id, ready.id)
  await again.until((f) => f.data.item?.data?.n === 250)
  t.same(
    again.frames.filter((f) => f.event === 'notification').map((f) => f.data.item.data.n),
    Array.from({ length: 251 }, (_, n) => n)
  )
  await again.until((f) => f.event === 'heartbeat' && f.data.counts?.unread === 251)

  let cursor = ready.id!
  const polled: { n: number; id: string }[] = []
  for (let more = true; more; ) {
    const poll = await call('GET', `${service.url}/v1/changes?since=${cursor}&limit=70`, {
      key: token
    })
    t.equal(poll.headers.get('cache-control'), 'private, no-store')
    polled.push(
      ...(
        poll.body.events as { event: string; id: string; data: { item: { data: { n: number } } } }[]
      )
        .filter(({ event }) => event === 'notification')
        .map(({ id, data }) => ({ n: data.item.data.n, id }))
    )
    cursor = poll.body.cursor
    more = poll.body.more
    // Shared events add one each, and earlier counts may include them already: only the last counts
    // are exact.
    if (!more)
      t.same(poll.body.events.at(-1), {
        event: 'heartbeat',
        id: cursor,
        data: { counts: { unread: 251, unseen: 251 } }
      })
  }
  t.same(
    polled,
    again.frames
      .filter((f) => f.event === 'notification')
      .map((f) => ({ n: f.data.item.data.n, id: f.id })),
    'the same events and cursors by poll'
  )
  const waiting = call('GET', `${service.url}/v1/changes?since=${cursor}&wait=10`, { key: token })
  await eventually(
    async () =>
      (await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })).body.connections
        .byTransport.poll === 1
  )
  await publish(service, { to: { user: 'u1' }, data: { n: 251 } })
  t.match((await waiting).body, {
    events: [{ event: 'notification', data: { item: { data: { n: 251 } } } }],
    more: false
  })
  const empty = await call(
    'GET',
    `${service.url}/v1/changes?since=${(await waiting).body.cursor}&wait=1`,
    { key: token }
  )
  t.same(empty.body.events, [])
})

test('a cursor that cannot be resumed gets a reset with the reason', async (t) => {
  const service = await startService(t)
  const token = tokenOf('u1')
  await publish(service, { to: { user: 'u1' }, title: 'kept' })
  const first = await openStream(t, `${service.url}/v1/stream`, { token })
  const { id } = await first.until((f) => f.event === 'ready')
  const epoch = id!.split('-')[0]
  for (const [cursor, reason] of [
    [`${epoch}-999999`, 'cursor_unknown'],
    ['zzzzzzzz-1', 'store_changed'],
    ['rubbish', 'cursor_unknown'],
    ['-1', 'cursor_unknown'],
    ['1e309', 'cursor_unknown'],
    [`${epoch}-1, ${epoch}-2`, 'cursor_unknown']
  ] as const) {
    const stream = await openStream(t, `${service.url}/v1/stream`, {
      token,
      headers: { 'last-event-id': cursor }
    })
    const reset = await stream.until(() => true)
    t.equal(reset.event, 'reset', cursor)
    t.match(reset.data, {
      reason,
      resumed: false,
      items: [{ title: 'kept' }],
      counts: { unread: 1 }
    })
    t.equal(reset.id, id)
    const poll = await call(
      'GET',
      `${service.url}/v1/changes?since=${encodeURIComponent(cursor)}`,
      { key: token }
    )
    t.match(poll.body.events, [{ event: 'reset', data: { reason } }])
  }
})

test('kill -9 in the middle of a burst loses no acknowledged event and repeats none', {
  timeout: 240_000
}, async (t) => {
  const dataDir = tempDir(t)
  const token = tokenOf('u1', ['news'])
  const acknowledged: string[] = []
  const seen: string[] = []
  let cursor: string | undefined
  for (let round = 0; round < ROUNDS; round++) {
    const service = await startService(t, { dataDir })
    const stream = await openStream(
      t,
      `${service.url}/v1/stream${cursor ? `?since=${cursor}` : ''}`,
      { token }
    )
    const ready = await stream.until((f) => f.event === 'ready' || f.event === 'reset')
    t.equal(ready.event, 'ready', 'the epoch survives a kill')
    let stop = false
    const publisher = async (lane: number): Promise<void> => {
      for (let n = 0; !stop; n++) {
        const answer = await publish(service, {
          to: lane % 2 ? { user: 'u1' } : { topic: 'news' },
          data: { lane, n, round }
        }).catch(() => null)
        if (answer?.status === 201) acknowledged.push(answer.body.id)
      }
    }
    const lanes = Array.from({ length: 8 }, (_, lane) => publisher(lane))
    const target = acknowledged.length + 150
    await eventually(() => acknowledged.length >= target)
    await service.kill('SIGKILL')
    stop = true
    await Promise.all(lanes)
    await stream.ended
    for (const frame of stream.frames) {
      if (frame.event === 'notification') seen.push(frame.data.item.id)
      if (frame.id !== undefined) cursor = frame.id
    }
  }
  const service = await startService(t, { dataDir })
  const stream = await openStream(t, `${service.url}/v1/stream?since=${cursor}`, { token })
  await stream.until((f) => f.event === 'ready')
  const last = await publish(service, { to: { user: 'u1' }, title: 'the end' })
  await stream.until((f) => f.data.item?.id === last.body.id)
  seen.push(...stream.frames.filter((f) => f.event === 'notification').map((f) => f.data.item.id))
  const distinct = new Set(seen)
  t.equal(distinct.size, seen.length, 'nothing twice')
  t.same(
    acknowledged.filter((id) => !distinct.has(id)),
    [],
    'nothing lost'
  )
})

test('SIGTERM turns readiness off at once, gives every stream a retry time, and exits 0 in time', async (t) => {
  const service = await startService(t, { env: { DRAIN_MS: '3000' } })
  const streams = await Promise.all(
    Array.from({ length: 10 }, (_, n) =>
      openStream(t, `${service.url}/v1/stream`, { token: tokenOf(`u${n}`) })
    )
  )
  for (const stream of streams) await stream.until((f) => f.event === 'ready')
  const waiting = call(
    'GET',
    `${service.url}/v1/changes?wait=30&since=${streams[0]!.frames[0]!.id}`,
    { key: tokenOf('poller') }
  )
  await eventually(
    async () =>
      (await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })).body.connections
        .active === 11
  )
  const started = performance.now()
  const exit = service.kill('SIGTERM')
  await eventually(async () => (await call('GET', `${service.url}/readyz`)).status === 503)
  t.equal(
    (await publish(service, { to: { user: 'u0' } })).status,
    201,
    'ordinary requests are served until the streams are closed'
  )
  t.equal((await waiting).status, 200, 'a waiting poll is answered')
  const late = await openStream(t, `${service.url}/v1/stream`, { token: tokenOf('late') })
  t.equal(late.status, 200)
  t.match(await late.until(() => true), { event: 'goodbye', data: { reason: 'drain' } })
  for (const stream of streams) {
    const goodbye = await stream.until((f) => f.event === 'goodbye')
    t.equal(goodbye.data.reason, 'drain')
    t.ok(goodbye.data.retryMs >= 1000 && goodbye.data.retryMs <= 10_000)
    t.equal(stream.retries.at(-1), goodbye.data.retryMs)
    await stream.ended
  }
  t.equal(await exit, 0)
  t.ok(performance.now() - started < 10_000)
})

test('a refused, a revoked and an expired stream each get `goodbye` with its reason', async (t) => {
  const service = await startService(t, { env: { MAX_CONNECTIONS_PER_USER: '2' } })
  const token = tokenOf('u1')
  const two = [
    await openStream(t, `${service.url}/v1/stream`, { token }),
    await openStream(t, `${service.url}/v1/stream`, { token })
  ]
  for (const stream of two) await stream.until((f) => f.event === 'ready')
  const third = await openStream(t, `${service.url}/v1/stream`, { token })
  t.equal(third.status, 200)
  const limit = await third.until(() => true)
  t.equal(limit.event, 'goodbye')
  t.equal(limit.id, undefined)
  t.equal(limit.data.reason, 'limit')
  t.ok(third.retries[0]! >= 5000 && third.retries[0]! <= 30_000)
  await third.ended

  const exp = Math.floor(Date.now() / 1000) + 3
  const short = await openStream(t, `${service.url}/v1/stream`, { token: jwt({ sub: 'u2', exp }) })
  const expired = await short.until((f) => f.event === 'goodbye')
  t.same(expired.data, { reason: 'expired', retryMs: null })
  t.ok(Date.now() / 1000 < exp + 5)
  await short.ended

  const revoked = await call('DELETE', `${service.url}/v1/users/u1/connections`, {
    key: PUBLISH_KEY
  })
  t.match(revoked, { status: 200, body: { closed: 2 } })
  for (const stream of two) {
    t.same((await stream.until((f) => f.event === 'goodbye')).data, {
      reason: 'revoked',
      retryMs: null
    })
    await stream.ended
  }
  t.equal((await call('GET', `${service.url}/v1/inbox`, { key: token })).status, 401)
  const monitor = await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })
  t.match(monitor.body.connections, {
    active: 0,
    opened: 3,
    closed: { revoked: 2, expired: 1 },
    refused: { limit: 1 }
  })
})

for (const detach of ['on', 'off'] as const)
  test(`a frozen reader is cut off as slow while its neighbour gets everything, in order (socket detached: ${detach})`, {
    timeout: 180_000
  }, async (t) => {
    const service = await startService(t, {
      flags: NODE_FLAGS[detach],
      env: { STALL_MS: '2000', MAX_BUFFERED_BYTES: '100000' }
    })
    const frozen = await openStream(t, `${service.url}/v1/stream`, {
      token: tokenOf('frozen', ['big'])
    })
    const lively = await openStream(t, `${service.url}/v1/stream`, {
      token: tokenOf('lively', ['big'])
    })
    await Promise.all([frozen, lively].map((stream) => stream.until((f) => f.event === 'ready')))
    frozen.pause()
    const body = 'x'.repeat(4000)
    const data = { pad: 'y'.repeat(10_000) }
    let n = 0
    while (
      (await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })).body.connections.closed
        .slow !== 1 &&
      n < 3000
    ) {
      const batch = Array.from({ length: 50 }, () => ({
        to: { topic: 'big' },
        type: 'test',
        body,
        data: { ...data, n: n++ }
      }))
      await call('POST', `${service.url}/v1/notifications/batch`, {
        key: PUBLISH_KEY,
        body: { notifications: batch }
      })
    }
    await lively.until((f) => f.data.item?.data?.n === n - 1)
    t.same(
      lively.frames.filter((f) => f.event === 'notification').map((f) => f.data.item.data.n),
      Array.from({ length: n }, (_, i) => i)
    )
    const monitor = await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })
    t.equal(monitor.body.connections.closed.slow, 1)
    t.equal(monitor.body.connections.active, 1)
  })

test('idempotency keys stay distinct in the database, single and in a batch', async (t) => {
  const service = await startService(t)
  const ids = new Set<string>()
  for (const key of ['k1', 'k2', 'k1']) {
    const { status, body } = await publish(
      service,
      { to: { user: 'u1' }, data: { key } },
      { 'idempotency-key': key }
    )
    t.equal(status, 201)
    ids.add(body.id)
  }
  t.equal(ids.size, 2)
  const batch = () =>
    call('POST', `${service.url}/v1/notifications/batch`, {
      key: PUBLISH_KEY,
      headers: { 'idempotency-key': 'b' },
      body: { notifications: ['u1', 'u2', 'u3'].map((user) => ({ to: { user }, type: 'x' })) }
    })
  const first = (await batch()).body.results.map(({ id }: { id: string }) => id)
  t.equal(new Set(first).size, 3)
  t.strictSame(
    (await batch()).body.results.map(({ id }: { id: string }) => id),
    first
  )
})
