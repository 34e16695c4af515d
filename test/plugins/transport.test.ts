import t from 'tap'
import { call, type Frame, openStream, publish, startService, tokenOf } from '../service/harness.ts'
import { sse, TRANSPORTS, transportContract, webSocket } from './transport-contract.ts'

interface Polled {
  readonly events: readonly Frame[]
  readonly cursor: string
  readonly more: boolean
}

const [plain, strict, aged] = await Promise.all([
  startService(t),
  startService(t, {
    env: {
      MAX_CONNECTIONS_PER_USER: '1',
      MAX_BUFFERED_BYTES: '65536',
      STALL_MS: '1000',
      HEARTBEAT_MS: '500'
    }
  }),
  startService(t, { env: { MAX_CONNECTION_AGE_MS: '1000' } })
])

for (const transport of TRANSPORTS) {
  t.test(`the transport ${transport.name} keeps the contract of all transports`, async (t) =>
    transportContract(t, transport, { plain, strict, aged })
  )
}

t.test('a waiting poll receives the counts when a notification expires', async (t) => {
  const key = tokenOf('forgetful')
  await publish(plain, { to: { user: 'forgetful' }, ttl: 1 })
  const { cursor } = (await call('GET', `${plain.url}/v1/inbox`, { key })).body
  const { body } = await call('GET', `${plain.url}/v1/changes?since=${cursor}&wait=10`, { key })
  t.match(body, {
    events: [{ event: 'heartbeat', data: { counts: { unread: 0, unseen: 0 } } }],
    more: false
  })
})

t.test(
  'successive polls, or a poll after a stream, arrive at the counts of the inbox',
  async (t) => {
    const user = 'counting'
    const key = tokenOf(user)
    const start = (await call('GET', `${plain.url}/v1/changes`, { key })).body.cursor
    const poll = async (since: string, limit: number) =>
      (await call('GET', `${plain.url}/v1/changes?since=${since}&limit=${limit}`, { key }))
        .body as Polled
    await publish(plain, { to: { user }, title: 'mine' })
    await publish(plain, { to: { everyone: true }, title: 'for all' })
    const truth = (await call('GET', `${plain.url}/v1/inbox/counts`, { key })).body
    const first = await poll(start, 1)
    // The counts of the first response include the event of the second.
    t.match(
      [first.events.map(({ event }) => event), first.events[0]?.data.counts, first.more],
      [['notification'], truth, true]
    )
    const second = await poll(first.cursor, 1)
    t.same(second.events.at(-1), { event: 'heartbeat', id: second.cursor, data: { counts: truth } })
    t.same(
      second.events.map(({ event }) => event),
      ['notification', 'heartbeat'],
      'a limit of one allows one event of the log, followed by the counts'
    )
    t.same(
      (await poll(start, 2)).events.map(({ event }) => event),
      ['notification', 'notification', 'heartbeat']
    )
    const stream = await openStream(t, `${plain.url}/v1/stream?since=${first.cursor}`, {
      token: key
    })
    const ready = await stream.until(({ event }) => event === 'ready')
    stream.close()
    t.same(ready.data.counts, truth)
    t.same((await poll(ready.id!, 100)).events.at(-1)?.data, { counts: truth })
  }
)

t.test(
  'a refused connection gets a goodbye with the cursor of its request, if that is valid',
  async (t) => {
    const token = tokenOf('crowded')
    const first = await sse.open(t, strict, { token })
    await first.until(({ event }) => event === 'ready')
    for (const transport of [sse, webSocket]) {
      for (const [since, id] of [
        ['anywhere-17', 'anywhere-17'],
        ['no cursor', undefined],
        [undefined, undefined]
      ] as const) {
        const refused = await transport.open(t, strict, { token, since })
        const goodbye = await refused.until(({ event }) => event === 'goodbye')
        t.equal(goodbye.id, id, `${transport.name} with ${since}`)
      }
    }
  }
)

t.test('a process that stops says goodbye on every transport, and exits', async (t) => {
  const service = await startService(t, { env: { DRAIN_MS: '300' } })
  const readers = await Promise.all(
    TRANSPORTS.map(async (transport) => {
      const reader = await transport.open(t, service, { token: tokenOf('u1') })
      await reader.until(({ event }) => event === 'ready')
      return { transport, reader }
    })
  )
  const code = service.kill('SIGTERM')
  for (const { transport, reader } of readers)
    t.match(await reader.ended, transport.ends.drain ?? {})
  t.equal(await code, 0)
})
