import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import {
  connectionsOf,
  NODE_FLAGS,
  openStream,
  rawPeer,
  requestHead,
  type Service,
  startService,
  tokenOf
} from './harness.ts'

const token = tokenOf('u1')
const [on, off] = (await Promise.all(
  [NODE_FLAGS.on, NODE_FLAGS.off].map((flags) =>
    startService(t, {
      flags,
      env: {
        MAX_CONNECTIONS_PER_USER: '1',
        DRAIN_MS: '2000',
        // Nothing listens there, so a request with a cookie is refused with a retry time.
        AUTH_SESSION_URL: 'http://127.0.0.1:1/'
      }
    })
  )
)) as [Service, Service]

/** How a client leaves before its answer. */
const LEAVES = {
  'resets the connection with its request': (head: string, port: number) =>
    leave(head, port, 0, 'reset'),
  'resets it a moment later': (head: string, port: number) => leave(head, port, 2, 'reset'),
  'closes with the answer unread': (head: string, port: number) => leave(head, port, 5, 'close')
}

async function leave(
  head: string,
  port: number,
  afterMs: number,
  how: 'reset' | 'close'
): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1' }).on('error', () => {})
  await once(socket, 'connect')
  socket.write(head)
  // There is no fact to wait for: the point is that the service cannot know when.
  if (afterMs > 0) await new Promise((resolve) => setTimeout(resolve, afterMs))
  if (how === 'reset') socket.resetAndDestroy()
  else socket.destroy()
}

async function leaveInEveryWay(service: Service, head: string): Promise<void> {
  const port = Number(new URL(service.url).port)
  for (const way of Object.values(LEAVES))
    for (let n = 0; n < 15; n++) await Promise.all([way(head, port), way(head, port)])
}

for (const [name, service] of [
  ['a bare socket', on],
  ['the response object', off]
] as const)
  t.test(
    `a client that leaves while it is refused disturbs no other stream (refused by ${name})`,
    async (t) => {
      const stream = await openStream(t, `${service.url}/v1/stream`, { token })
      await stream.until((f) => f.event === 'ready')
      const other = await openStream(t, `${service.url}/v1/stream`, { token: tokenOf('u2') })
      await other.until((f) => f.event === 'ready')
      await leaveInEveryWay(service, requestHead('/v1/stream', token))
      await leaveInEveryWay(service, requestHead('/v1/stream', undefined, ['cookie: session=x']))
      await leaveInEveryWay(
        service,
        requestHead('/v1/socket', token, [
          'connection: upgrade',
          'upgrade: websocket',
          'sec-websocket-version: 13',
          'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=='
        ])
      )
      await eventually(async () => (await connectionsOf(service)).active === 2)
      t.match((await connectionsOf(service)).refused, { limit: Number, unavailable: Number })
      // The last two streams close one after another, so the listener stays open for more than a
      // moment.
      const exit = service.kill('SIGTERM')
      await Promise.race([stream.ended, other.ended])
      const refused = await rawPeer(t, service, requestHead('/v1/stream', token))
      await refused.until(/"reason":"drain"/)
      await leaveInEveryWay(service, requestHead('/v1/stream', token)).catch(() => {})
      t.equal(await exit, 0)
      t.notMatch(service.output(), /"level":60/)
    }
  )
