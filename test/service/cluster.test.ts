import { type Test, test } from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import { redisUrl, skipRedis } from '../stores/redis-server.ts'
import {
  call,
  MONITOR_KEY,
  openStream,
  PUBLISH_KEY,
  publish,
  type Service,
  startService,
  tokenOf
} from './harness.ts'

let drawn = 0

/** Starts `n` nodes on one Redis and waits until each knows all others. */
async function startNodes(
  t: Test,
  count: number,
  env: Record<string, string> = {}
): Promise<Service[]> {
  const shared = {
    STORE: 'redis',
    REDIS_URL: await redisUrl(t),
    REDIS_PREFIX: `cluster${process.pid}x${++drawn}`,
    DRAIN_MS: '300',
    ...env
  }
  const nodes = await Promise.all(
    Array.from({ length: count }, () => startService(t, { env: shared }))
  )
  for (const node of nodes) {
    await eventually(async () => (await call('GET', `${node.url}/readyz`)).status === 200)
    await eventually(async () => (await monitorOf(node)).nodes.length === count)
  }
  return nodes
}

const monitorOf = async (node: { url: string }) =>
  (await call('GET', `${node.url}/monitor`, { key: MONITOR_KEY })).body
const stream = (t: Test, node: { url: string }, user: string, topics: string[] = []) =>
  openStream(t, `${node.url}/v1/stream`, { token: tokenOf(user, topics) })
const open = async (t: Test, node: { url: string }, user: string, topics: string[] = []) => {
  const opened = await stream(t, node, user, topics)
  await opened.until((f) => f.event === 'ready')
  return opened
}

test('three nodes behave as one service', { skip: skipRedis }, async (t) => {
  const nodes = await startNodes(t, 3, { MAX_CONNECTIONS_PER_USER: '4' })
  const [a, b, c] = nodes as [Service, Service, Service]

  await t.test(
    'revoking a user on one node closes and counts their streams on all nodes',
    async (t) => {
      const streams = [
        await open(t, a, 'rita'),
        await open(t, b, 'rita'),
        await open(t, b, 'rita'),
        await open(t, c, 'rita')
      ]
      const other = await open(t, c, 'otto')
      const started = performance.now()
      const answer = await call('DELETE', `${a.url}/v1/users/rita/connections`, {
        key: PUBLISH_KEY
      })
      t.match(answer, { status: 200, body: { closed: 4 } })
      for (const one of streams) {
        t.same((await one.until((f) => f.event === 'goodbye')).data, {
          reason: 'revoked',
          retryMs: null
        })
        await one.ended
      }
      // The documented limit is a second; a busy machine may take longer, but less than a heartbeat.
      t.ok(performance.now() - started < 10_000)
      t.equal(other.frames.filter((f) => f.event === 'goodbye').length, 0)
      t.match(
        (await call('DELETE', `${c.url}/v1/users/rita/connections`, { key: PUBLISH_KEY })).body,
        { closed: 0 }
      )
      other.close()
    }
  )

  await t.test(
    'the connection limit of a user holds across all nodes, even for simultaneous attempts',
    async (t) => {
      for (let round = 0; round < 5; round++) {
        const user = `lena${round}`
        const streams = await Promise.all(
          Array.from({ length: 9 }, (_, n) => stream(t, nodes[n % 3]!, user))
        )
        const first = await Promise.all(streams.map((one) => one.until(() => true)))
        t.equal(first.filter(({ event }) => event === 'ready').length, 4, user)
        for (const { event, data } of first)
          if (event !== 'ready') t.match(data, { reason: 'limit' })
        const poll = await call('GET', `${b.url}/v1/changes?wait=1`, { key: tokenOf(user) })
        t.equal(poll.status, 429, 'a poll is a connection')
        // A slot released on one node becomes available on the others.
        streams[first.findIndex(({ event }) => event === 'ready')]!.close()
        await eventually(async () => {
          const again = await stream(t, c, user)
          return (await again.until(() => true)).event === 'ready'
        })
        for (const one of streams) one.close()
      }
    }
  )

  await t.test('presence counts the connections of all nodes, waiting polls too', async (t) => {
    const streams = [await open(t, a, 'pia'), await open(t, b, 'pia'), await open(t, c, 'paul')]
    const { body } = await call('GET', `${b.url}/v1/changes`, { key: tokenOf('pia') })
    const poll = new AbortController()
    const waiting = fetch(`${b.url}/v1/changes?wait=30&since=${body.cursor}`, {
      headers: { authorization: `Bearer ${tokenOf('pia')}` },
      signal: poll.signal
    }).catch(() => {})
    for (const node of nodes) {
      const now = async () =>
        (await call('GET', `${node.url}/v1/presence?users=pia,paul,nobody`, { key: PUBLISH_KEY }))
          .body.users
      await eventually(async () => (await now()).pia.connections === 3)
      t.strictSame(await now(), {
        pia: { online: true, connections: 3 },
        paul: { online: true, connections: 1 },
        nobody: { online: false, connections: 0 }
      })
    }
    poll.abort()
    await waiting
    for (const one of streams) one.close()
    await eventually(async () => {
      const answer = await call('GET', `${a.url}/v1/presence?users=pia,paul`, { key: PUBLISH_KEY })
      return !answer.body.users.pia.online && !answer.body.users.paul.online
    })
  })

  await t.test('connections are listed and closed from any node', async (t) => {
    const streams = [await open(t, a, 'lisa'), await open(t, b, 'lisa'), await open(t, c, 'lisa')]
    const list = await call('GET', `${b.url}/monitor/connections?user=lisa`, { key: MONITOR_KEY })
    t.equal(list.body.total, 3)
    const ids = list.body.connections.map(({ id }: { id: string }) => id)
    t.same(ids.sort(), streams.map((one) => one.frames[0]!.data.connection).sort())
    const two = await call('GET', `${b.url}/monitor/connections?user=lisa&limit=2`, {
      key: MONITOR_KEY
    })
    t.match([two.body.connections.length, two.body.total], [2, 3])
    const id = streams[2]!.frames[0]!.data.connection
    t.equal(
      (await call('DELETE', `${a.url}/monitor/connections/${id}`, { key: MONITOR_KEY })).status,
      204
    )
    t.match((await streams[2]!.until((f) => f.event === 'goodbye')).data, { reason: 'closed' })
    t.equal(
      (await call('DELETE', `${a.url}/monitor/connections/${id}`, { key: MONITOR_KEY })).status,
      404
    )
    for (const one of streams) one.close()
  })

  await t.test('a trace tells on any node what all of them saw', async (t) => {
    const streams = [await open(t, b, 'tim', ['news']), await open(t, c, 'tom', ['news'])]
    const sent = await publish(a, { to: { topic: 'news' }, title: 'traced' })
    for (const one of streams) await one.until((f) => f.data.item?.id === sent.body.id)
    for (const node of nodes) {
      const traced = () =>
        call('GET', `${node.url}/monitor/notifications/${sent.body.id}?user=tom`, {
          key: MONITOR_KEY
        })
      // A client may read a frame before its node has recorded it as sent.
      await eventually(async () => (await traced()).body.written.connections === 2)
      const trace = await traced()
      t.match(trace.body, {
        producer: 'tests',
        written: { connections: 2 },
        user: { verdict: 'written' }
      })
      t.type(trace.body.durableAfterMs, 'number')
      t.same(
        trace.body.user.connections.map((one: { id: string }) => one.id),
        [streams[1]!.frames[0]!.data.connection]
      )
    }
    for (const one of streams) one.close()
  })

  await t.test(
    '/monitor lists every node, its own first, with totals; a stopped node disappears',
    async (t) => {
      await open(t, a, 'mia')
      await open(t, c, 'max')
      let seen = await monitorOf(b)
      // Nodes report in turns: one may still count a connection of the test before.
      const counts = () => seen.nodes.map((one: { connections: number }) => one.connections).sort()
      await eventually(async () => {
        seen = await monitorOf(b)
        return counts().join() === '0,1,1'
      })
      t.match(seen.nodes[0], { node: seen.node, connections: 0, status: seen.status })
      t.equal(seen.cluster.connections, 2)
      t.equal(seen.connections.active, 0, 'its own numbers are its own')
      for (const { lastSeenAt } of seen.nodes) t.ok(Date.now() - Date.parse(lastSeenAt) < 10_000)
      await c.kill('SIGTERM')
      await eventually(async () => (await monitorOf(b)).nodes.length === 2)
      t.equal((await monitorOf(b)).cluster.nodes, 2)
    }
  )
})
