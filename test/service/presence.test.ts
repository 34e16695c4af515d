import t from 'tap'
import { WebSocket } from 'ws'
import { eventually } from '../fixtures/eventually.ts'
import { freePort } from '../fixtures/free-port.ts'
import { call, openStream, PUBLISH_KEY, startService, tokenOf } from './harness.ts'

const service = await startService(t)

const ask = (users: string, key = PUBLISH_KEY) =>
  call('GET', `${service.url}/v1/presence?users=${users}`, { key })
const of = (connections: number) => ({ online: connections > 0, connections })

t.test('presence counts streams, sockets and waiting polls, and follows their end', async (t) => {
  const stream = await openStream(t, `${service.url}/v1/stream`, { token: tokenOf('ann') })
  const { data } = await stream.until(({ event }) => event === 'ready')
  const socket = new WebSocket(`${service.url.replace('http', 'ws')}/v1/socket`, {
    headers: { authorization: `Bearer ${tokenOf('ann')}` }
  })
  t.teardown(() => socket.terminate())
  const { body } = await call('GET', `${service.url}/v1/changes`, { key: tokenOf('bob') })
  const poll = new AbortController()
  t.teardown(() => poll.abort())
  const waiting = fetch(`${service.url}/v1/changes?wait=30&since=${body.cursor}`, {
    headers: { authorization: `Bearer ${tokenOf('bob')}` },
    signal: poll.signal
  }).catch(() => {})
  t.ok(data.connection)
  const now = async () => (await ask('ann,bob,eve')).body.users
  await eventually(async () => {
    const { ann, bob } = await now()
    return ann.connections === 2 && bob.connections === 1
  })
  const answer = await ask('ann,bob,eve,ann')
  t.equal(answer.status, 200)
  t.equal(answer.headers.get('cache-control'), 'no-store')
  t.match(answer.headers.get('content-type'), /^application\/json/)
  t.strictSame(answer.body, { users: { ann: of(2), bob: of(1), eve: of(0) } })
  stream.close()
  socket.terminate()
  poll.abort()
  await waiting
  await eventually(async () => !(await now()).ann.online && !(await now()).bob.online)
})

t.test('presence takes 1 to 100 names, each a name of a user', async (t) => {
  const names = ['auth0|64ab', 'ann+x@example.com', '__proto__', 'constructor']
  const { status, text } = await ask(names.map(encodeURIComponent).join())
  t.equal(status, 200)
  for (const name of names)
    t.match(text, `${JSON.stringify(name)}:{"online":false,"connections":0}`, name)
  const many = Array.from({ length: 100 }, (_, n) => `u${n}`)
  t.equal(Object.keys((await ask(many.join())).body.users).length, 100)
  t.equal((await ask([...many, 'u0'].join())).status, 200, 'a repeated name counts once')
  for (const users of ['', 'a,', 'a%20b', 'a,,b', 'x'.repeat(129), [...many, 'more'].join()]) {
    const { status, body } = await ask(users)
    t.equal(status, 422, users.slice(0, 20))
    t.match(body.errors, [{ pointer: 'users' }])
  }
  t.equal((await call('GET', `${service.url}/v1/presence`, { key: PUBLISH_KEY })).status, 422)
})

t.test('without the nodes beside it a node does not say who is away', async (t) => {
  const alone = await startService(t, {
    env: { STORE: 'redis', REDIS_URL: `redis://127.0.0.1:${await freePort()}` }
  })
  const { status, headers, body } = await call('GET', `${alone.url}/v1/presence?users=a`, {
    key: PUBLISH_KEY
  })
  t.equal(status, 503)
  t.equal(headers.get('retry-after'), '1')
  t.match(body.type, /unavailable$/)
})
