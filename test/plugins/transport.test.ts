import t from 'tap'
import { call, publish, startService, tokenOf } from '../service/harness.ts'
import { TRANSPORTS, transportContract } from './transport-contract.ts'

const [plain, strict, aged] = await Promise.all([
  startService(t),
  startService(t, {
    env: { MAX_CONNECTIONS_PER_USER: '1', MAX_BUFFERED_BYTES: '65536', STALL_MS: '1000', HEARTBEAT_MS: '500' }
  }),
  startService(t, { env: { MAX_CONNECTION_AGE_MS: '1000' } })
])

for (const transport of TRANSPORTS) {
  t.test(`the contract of transports: ${transport.name}`, async (t) => transportContract(t, transport, { plain, strict, aged }))
}

t.test('a poll that waits is told of counts that fell because something expired', async (t) => {
  const key = tokenOf('forgetful')
  await publish(plain, { to: { user: 'forgetful' }, ttl: 1 })
  const { cursor } = (await call('GET', `${plain.url}/v1/inbox`, { key })).body
  const { body } = await call('GET', `${plain.url}/v1/changes?since=${cursor}&wait=10`, { key })
  t.match(body, { events: [{ event: 'heartbeat', data: { counts: { unread: 0, unseen: 0 } } }], more: false })
})

t.test('a process that stops says goodbye to all of them, and ends', async (t) => {
  const service = await startService(t, { env: { DRAIN_MS: '300' } })
  const readers = await Promise.all(
    TRANSPORTS.map(async (transport) => {
      const reader = await transport.open(t, service, { token: tokenOf('u1') })
      await reader.until(({ event }) => event === 'ready')
      return { transport, reader }
    })
  )
  const code = service.kill('SIGTERM')
  for (const { transport, reader } of readers) t.match(await reader.ended, transport.ends.drain ?? {})
  t.equal(await code, 0)
})
