import { mkdtempSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { scopeOf } from '../../src/log/channel.ts'
import { openStore } from '../../src/stores/open-store.ts'
import { eventually } from '../fixtures/eventually.ts'
import { freePort } from '../fixtures/free-port.ts'
import { startRedisCluster } from './redis-masters.ts'
import { RedisServer, skipOwnServer, startRedis } from './redis-server.ts'
import { storeContract } from './store-contract.ts'
import { Followed, publication, storeOptions } from './store-fixtures.ts'

t.test('a Redis Cluster keeps every promise of the store', { skip: skipOwnServer }, async (t) => {
  const { servers, url: redisUrl } = await startRedisCluster(t)
  let drawn = 0
  storeContract(t, (options) =>
    openStore(
      storeOptions('', { store: 'redis', redisUrl, redisPrefix: `c${++drawn}`, ...options })
    )
  )

  t.test(
    'a wake-up reaches another process at once, even after all servers were killed',
    async (t) => {
      const options = storeOptions('', { store: 'redis', redisUrl })
      const [one, two] = [await openStore(options), await openStore(options)]
      t.teardown(() => Promise.all([one.close(), two.close()]))
      const followed = new Followed(two)
      const ring = async (): Promise<void> => {
        const began = performance.now()
        for (let n = 0; n < 10; n++) {
          const item = publication({ user: 'ann' })
          await one.publish([item])
          await followed.until(
            (event) => event.kind === 'notification' && event.entry.id === item.id
          )
        }
        t.ok(performance.now() - began < 4000, 'not by polling, which takes a second each')
      }
      await ring()

      const { epoch } = two.logs[0]
      for (const server of servers) {
        await server.kill()
        await server.start()
      }
      const back = performance.now()
      const last = publication({ user: 'ann' })
      await eventually(async () =>
        one.publish([last]).then(
          () => true,
          () => false
        )
      )
      await followed.until((event) => event.kind === 'notification' && event.entry.id === last.id)
      t.ok(
        performance.now() - back < 20_000,
        `goes on ${Math.round(performance.now() - back)} ms after all of them were killed`
      )
      t.equal(two.logs[0].epoch, epoch)
      await ring()
    }
  )
})

/** A Sentinel for one test, which watches `master`. */
async function startSentinel(t: Test, master: RedisServer): Promise<RedisServer> {
  const dir = mkdtempSync(join(tmpdir(), 'sentinel-'))
  const file = join(dir, 'sentinel.conf')
  await writeFile(
    file,
    `sentinel monitor mine 127.0.0.1 ${master.port} 1\nsentinel down-after-milliseconds mine 500\nsentinel failover-timeout mine 3000\n`
  )
  const sentinel = new RedisServer(await freePort(), dir, { command: [file, '--sentinel'] })
  await sentinel.start()
  t.teardown(() => sentinel.end())
  return sentinel
}

t.test(
  'with Sentinel, the stores continue on the replica after the master dies',
  { skip: skipOwnServer },
  async (t) => {
    const master = await startRedis(t)
    const replica = await startRedis(t)
    await replica.say(`REPLICAOF 127.0.0.1 ${master.port}`)
    await eventually(async () =>
      (await replica.say('INFO replication')).includes('master_link_status:up')
    )
    const sentinel = await startSentinel(t, master)
    await eventually(async () =>
      (await sentinel.say('SENTINEL master mine')).includes('num-slaves\r\n$1\r\n1')
    )

    const redisUrl = `redis+sentinel://127.0.0.1:${sentinel.port}/mine`
    const store = await openStore(
      storeOptions('', { store: 'redis', redisUrl, redisWaitReplicas: 1 })
    )
    const other = await openStore(storeOptions('', { store: 'redis', redisUrl }))
    t.teardown(() => Promise.all([store.close(), other.close()]))
    const followed = new Followed(other)
    const items = Array.from({ length: 20 }, () => publication({ user: 'ann' }))
    t.equal((await store.publish(items)).filter(({ kind }) => kind === 'accepted').length, 20)
    const { epoch } = store.logs[0]
    await master.kill()
    const last = publication({ user: 'ann' })
    await eventually(async () =>
      other.publish([last]).then(
        () => true,
        () => false
      )
    )
    await followed.until((event) => event.kind === 'notification' && event.entry.id === last.id)
    t.equal(other.logs[0].epoch, epoch, 'the replica had everything, so the epoch stays')
    const seqs = followed.events.flatMap((event) => ('seq' in event ? [event.seq] : []))
    t.equal(seqs.length, 21)
    for (const one of [store, other]) await eventually(async () => one.status().healthy)
    t.equal((await other.counts('ann', scopeOf('ann', []))).unread, 21)
  }
)
