import t, { type Test } from 'tap'
import {
  connectRedis,
  isReady,
  type RedisClients,
  type RedisConnection
} from '../../src/stores/redis/client.ts'
import { parseRedisUrl } from '../../src/stores/redis/redis-url.ts'
import { freePort } from '../fixtures/free-port.ts'
import { skipOwnServer, startRedis } from './redis-server.ts'

t.test('REDIS_URL is parsed in each of its forms, and any other text is rejected', async (t) => {
  const none = { tls: false, username: undefined, password: undefined }
  t.strictSame(parseRedisUrl('redis://h'), {
    kind: 'single',
    ...none,
    host: 'h',
    port: 6379,
    db: 0
  })
  t.strictSame(parseRedisUrl('redis://[::1]:1/2'), {
    kind: 'single',
    ...none,
    host: '::1',
    port: 1,
    db: 2
  })
  t.strictSame(parseRedisUrl('rediss://u:p%40%2F:x@h:1/'), {
    kind: 'single',
    tls: true,
    username: 'u',
    password: 'p@/:x',
    host: 'h',
    port: 1,
    db: 0
  })
  t.strictSame(parseRedisUrl('redis://:p@h:1,h2'), {
    kind: 'cluster',
    ...none,
    password: 'p',
    nodes: [
      { host: 'h', port: 1 },
      { host: 'h2', port: 6379 }
    ]
  })
  t.strictSame(parseRedisUrl('redis+sentinel://h,[::1]:2/mine/3'), {
    kind: 'sentinel',
    ...none,
    sentinels: [
      { host: 'h', port: 26_379 },
      { host: '::1', port: 2 }
    ],
    master: 'mine',
    db: 3,
    sentinelUsername: undefined,
    sentinelPassword: undefined
  })
  const sentinels = [{ host: 'h', port: 1 }]
  t.match(parseRedisUrl('redis+sentinel://u:p@h:1/mine'), {
    sentinels,
    username: 'u',
    password: 'p',
    sentinelUsername: 'default',
    sentinelPassword: 'p'
  })
  t.match(parseRedisUrl('redis+sentinel://u:p@h:1/mine/2?sentinel=s:q%40'), {
    sentinels,
    db: 2,
    password: 'p',
    sentinelUsername: 's',
    sentinelPassword: 'q@'
  })
  for (const malformed of [
    'h:1',
    'http://h',
    'redis://',
    'redis://h:0',
    'redis://h:65536',
    'redis://h:x',
    'redis://h/x',
    'redis://h/1/2',
    'redis://user@h',
    'redis://u:@h',
    'redis://u:%@h',
    'redis://h:1,',
    'redis://h:1,h:2/1',
    'redis+sentinel://h:1',
    'redis+sentinel://h:1/',
    'redis+sentinel://h:1/m/x',
    'redis+sentinel://h:1/m?sentinel=x',
    'redis+sentinel://h:1/m?other=x:y',
    'redis://h:1?sentinel=x:y',
    'redis://h h'
  ]) {
    t.equal(parseRedisUrl(malformed), undefined, malformed)
  }
})

/** Unlike `once` of node:events, this does not reject on the errors that these tests provoke. */
const heard = (connection: RedisConnection, event: string): Promise<void> =>
  new Promise((resolve) => connection.once(event, () => resolve()))

const connect = async (
  t: Test,
  url: string
): Promise<{ clients: RedisClients; errors: string[] }> => {
  const errors: string[] = []
  const clients = await connectRedis(url, {
    name: 'test',
    onError: (error) => errors.push(error.message)
  })
  t.teardown(() => clients.close())
  return { clients, errors }
}

t.test(
  'a Redis command fails within its time limit if the server is down or frozen',
  { skip: skipOwnServer },
  async (t) => {
    const unreachable = await connect(t, `redis://127.0.0.1:${await freePort()}`)
    await t.rejects(unreachable.clients.commands.ping(), 'it fails at once without a server')
    await heard(unreachable.clients.commands, 'reconnecting')
    t.match(unreachable.errors[0], /ECONNREFUSED/)

    const server = await startRedis(t)
    const { clients } = await connect(t, server.url)
    await Promise.all(
      [clients.commands, clients.reads, clients.subscriber].map((one) => heard(one, 'ready'))
    )
    t.equal(await clients.commands.ping(), 'PONG')
    server.freeze()
    const asked = performance.now()
    await t.rejects(clients.commands.ping(), { message: 'Command timed out' })
    t.ok(performance.now() - asked < 20_000, 'it fails within its time limit')
    server.thaw()
    t.equal(await clients.commands.ping(), 'PONG', 'it works when the server thaws')

    await server.kill()
    await heard(clients.commands, 'close')
    t.notOk(isReady(clients.commands))
    await t.rejects(clients.commands.ping())
    await Promise.all([server.start(), heard(clients.commands, 'ready')])
    t.equal(await clients.commands.ping(), 'PONG', 'it works when the server is back')
  }
)
