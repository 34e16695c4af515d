import t from 'tap'
import { shardOf } from '../../src/stores/redis/sharding.ts'
import { eventually } from '../fixtures/eventually.ts'
import { startRedisCluster } from '../stores/redis-masters.ts'
import { skipOwnServer } from '../stores/redis-server.ts'
import {
  call,
  MONITOR_KEY,
  openStream,
  PUBLISH_KEY,
  publish,
  startService,
  tokenOf
} from './harness.ts'

const SHARDS = 6
const users = Array.from({ length: 24 }, (_, n) => `u${n}`)

t.test(
  'a shard that is down or lost its data does not affect users of other shards',
  {
    skip: skipOwnServer,
    timeout: 240_000
  },
  async (t) => {
    const { servers, url } = await startRedisCluster(t)
    const env = {
      STORE: 'redis',
      REDIS_URL: url,
      REDIS_SHARDS: String(SHARDS),
      HEARTBEAT_MS: '300'
    }
    const node = await startService(t, { env })
    const monitor = async () =>
      (await call('GET', `${node.url}/monitor`, { key: MONITOR_KEY })).body
    const ready = async (): Promise<number> => (await fetch(`${node.url}/readyz`)).status
    const recall = async (id: string) =>
      (await call('DELETE', `${node.url}/v1/notifications/${id}`, { key: PUBLISH_KEY })).status
    const streamOf = (user: string, query = '') =>
      openStream(t, `${node.url}/v1/stream${query}`, { token: tokenOf(user, ['news']) })
    await eventually(
      async () =>
        !(await monitor()).store.shards.some((shard: { healthy: boolean }) => !shard.healthy)
    )

    // A master that holds some of the shards.
    const heldBy = async (server: (typeof servers)[0]): Promise<number[]> => {
      const found = await server.say('KEYS bellwire:*:state')
      return Array.from({ length: SHARDS }, (_, n) => n).filter((n) =>
        found.includes(n === 0 ? '{bellwire}' : `{bellwire.${n}}`)
      )
    }
    const held = await Promise.all(servers.map(heldBy))
    const victim = held.findIndex((shards) => shards.length > 0 && shards.length < SHARDS)
    const away = servers[victim]!
    const lost = held[victim]!
    const lucky = users.find((user) => !lost.includes(shardOf(user, SHARDS)))!
    const unlucky = users.find((user) => lost.includes(shardOf(user, SHARDS)))!

    const [good, bad] = [await streamOf(lucky), await streamOf(unlucky)]
    for (const stream of [good, bad]) await stream.until((f) => f.event === 'ready')
    const shared = (await publish(node, { to: { topic: 'news' }, title: 'shared' })).body.id
    for (const stream of [good, bad]) await stream.until((f) => f.data.item?.id === shared)

    await away.kill()
    const down = (shards: readonly { healthy: boolean }[]) =>
      shards.flatMap(({ healthy }, n) => (healthy ? [] : [n]))
    await eventually(async () => down((await monitor()).store.shards).join() === lost.join())
    t.match(await monitor(), { status: 'critical', store: { healthy: false } })
    t.equal(await ready(), 200, 'no node would serve the others better')
    const ticketOf = (user: string) =>
      call('POST', `${node.url}/v1/tickets`, { key: PUBLISH_KEY, body: { user } })
    const { ticket } = (await ticketOf(lucky)).body
    const byTicket = await openStream(t, `${node.url}/v1/stream?ticket=${ticket}`)
    t.match((await byTicket.until((f) => f.event === 'ready')).data, { user: lucky })
    byTicket.close()
    t.equal((await ticketOf(unlucky)).status, 503)
    const refused = await streamOf(unlucky)
    t.equal((await refused.until((f) => f.event === 'goodbye')).data.reason, 'unavailable')
    const own = await publish(node, { to: { user: lucky }, title: 'own' })
    t.equal(own.status, 201)
    await good.until((f) => f.data.item?.id === own.body.id)

    t.equal(await recall(shared), 503, 'not taken back from everybody')
    const removed = await good.until((f) => f.data.op === 'removed')
    t.same(removed.data.ids, [shared])
    const counted = await good.until(
      (f) => f.event === 'heartbeat' && f.data.counts,
      good.frames.indexOf(removed)
    )
    t.same(counted.data.counts, { unread: 1, unseen: 1 }, 'counts are told while the other is away')
    t.ok(down((await monitor()).store.shards).length > 0)

    await away.start()
    await eventually(async () => (await monitor()).store.healthy)
    t.equal(await recall(shared), 204)
    const last = await bad.until((f) => f.data.op === 'removed')
    t.notOk(
      [...good.frames, ...bad.frames].some((f) => f.event === 'reset' || f.event === 'goodbye')
    )

    // A shard that starts a new epoch leaves the epochs of the others alone. A client reading that
    // log at this moment would have to reconnect; this one has read everything.
    await bad.until((f) => f.event === 'heartbeat' && f.data.counts, bad.frames.indexOf(last))
    await away.say('FLUSHALL')
    t.match((await bad.until((f) => f.event === 'reset')).data, {
      reason: 'store_changed',
      items: []
    })
    const after = (await publish(node, { to: { everyone: true }, title: 'after' })).body.id
    for (const stream of [good, bad]) await stream.until((f) => f.data.item?.id === after)
    t.notOk(good.frames.some((f) => f.event === 'reset'))
    t.equal(
      (await (await streamOf(lucky, `?since=${removed.id}`)).until((f) => f.event === 'ready')).data
        .resumed,
      true
    )
    for (const foreign of [last.id, removed.id]) {
      const again = await streamOf(unlucky, `?since=${foreign}`)
      t.match((await again.until((f) => f.event === 'ready' || f.event === 'reset')).event, 'reset')
    }
  }
)
