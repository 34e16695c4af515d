import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { scopeOf } from '../../src/log/channel.ts'
import type { Store } from '../../src/log/store.ts'
import { openStore } from '../../src/stores/open-store.ts'
import type { StoreOptions } from '../../src/stores/store-options.ts'
import { eventually } from '../fixtures/eventually.ts'
import { freePort } from '../fixtures/free-port.ts'
import { startRedisCluster } from './redis-masters.ts'
import { RedisServer, skipOwnServer, startRedis } from './redis-server.ts'
import { publication, storeOptions } from './store-fixtures.ts'

const LONE_NODE = /node of a Cluster.*write redis:\/\/host:port,host:port/

/** Opens a store and keeps its log lines. */
async function open(
  t: Test,
  redisUrl: string,
  over: Partial<StoreOptions> = {}
): Promise<{ store: Store; lines: string[] }> {
  const lines: string[] = []
  const log = { trouble: (message: string) => lines.push(message), warning: () => {} }
  const store = await openStore(storeOptions('', { store: 'redis', redisUrl, log, ...over }))
  t.teardown(() => store.close())
  return { store, lines }
}

t.test(
  'Sentinels that require a password get that of the servers, or one of their own',
  { skip: skipOwnServer },
  async (t) => {
    const master = await startRedis(t, { args: ['--requirepass', 'pw'] })
    let guarded = 0
    for (const own of ['pw', 'its:own', undefined]) {
      const dir = mkdtempSync(join(tmpdir(), 'sentinel-'))
      const file = join(dir, 'sentinel.conf')
      const password = own === undefined ? '' : `requirepass "${own}"\n`
      writeFileSync(
        file,
        `${password}sentinel monitor mine 127.0.0.1 ${master.port} 1\nsentinel auth-pass mine pw\n`
      )
      const sentinel = new RedisServer(await freePort(), dir, { command: [file, '--sentinel'] })
      await sentinel.start()
      t.teardown(() => sentinel.end())
      if (own === 'its:own') guarded = sentinel.port
      const query = own === 'its:own' ? '?sentinel=:its%3Aown' : ''
      const { store } = await open(
        t,
        `redis+sentinel://:pw@127.0.0.1:${sentinel.port}/mine${query}`
      )
      t.equal(store.status().reason, undefined, `ready with ${own ?? 'no password'}`)
      t.match(await store.publish([publication({ user: 'ann' })]), [{ kind: 'accepted' }])
    }
    for (const [path, said] of [
      ['mine', /Sentinel, not Redis, refused .*\?sentinel=user:password.*WRONGPASS/],
      ['other?sentinel=:its%3Aown', /Sentinels watch no master of the name/]
    ] as const) {
      const { lines } = await open(t, `redis+sentinel://:pw@127.0.0.1:${guarded}/${path}`)
      t.match(lines.join('\n'), said, 'the log says which server refused, and what to change')
    }
  }
)

t.test(
  'a single address of a Cluster node is reported at the start, whatever slots the node owns',
  { skip: skipOwnServer },
  async (t) => {
    const { servers } = await startRedisCluster(t)
    const [{ port }] = servers as [RedisServer]
    const cases = [
      ...servers.map(({ url }) => [url, 1] as const),
      ...servers.map(({ url }) => [url, 4] as const)
    ]
    for (const [url, redisShards] of [...cases, [`redis://127.0.0.1:${port}/3`, 1] as const]) {
      const { store, lines } = await open(t, url, { redisShards })
      t.match(store.status(), { healthy: false, misconfigured: true, reason: LONE_NODE })
      if (url.endsWith('/3')) t.match(store.status().reason, /without the database number 3/)
      t.match(lines.join('\n'), LONE_NODE, 'the log line says so')
      await t.rejects(store.publish([publication({ user: 'ann' })]), {
        name: 'StoreError',
        message: LONE_NODE
      })
    }
    const twice = await open(t, `redis://127.0.0.1:${port},127.0.0.1:${port}`)
    t.equal(
      twice.store.status().reason,
      undefined,
      'an address that is written twice is used as a Cluster'
    )
  }
)

t.test(
  'a database number that Redis does not have is reported, and no other database is used',
  { skip: skipOwnServer },
  async (t) => {
    const { url } = await startRedis(t, { args: ['--databases', '4'] })
    t.equal((await open(t, `${url}/3`)).store.status().reason, undefined)
    const { store, lines } = await open(t, `${url}/4`)
    t.match(store.status(), {
      misconfigured: true,
      reason: /names database 4, and Redis refuses it.*out of range/
    })
    t.match(lines.join('\n'), /names database 4/)
  }
)

t.test(
  'the minimal ACL in the README is enough, and a smaller ACL is reported together with it',
  { skip: skipOwnServer },
  async (t) => {
    const redis = await startRedis(t)
    await redis.say(
      'ACL SETUSER bell on >pw ~bellwire:* &bellwire:* +@all -@admin -@dangerous +info'
    )
    const { store } = await open(t, `redis://bell:pw@127.0.0.1:${redis.port}`)
    t.equal(store.status().reason, undefined)
    t.match(await store.publish([publication({ user: 'ann' })]), [{ kind: 'accepted' }])
    t.match(await store.mark('ann', 'read', { upTo: store.logs[0].head, scope: ['user:ann'] }), {
      affected: 1
    })
    await store.erase('ann')

    for (const [user, rights, lacking] of [
      ['noinfo', '~bellwire:* &bellwire:* +@all -@admin -@dangerous', /'info' command/],
      ['nokeys', '~other:* &bellwire:* +@all -@admin -@dangerous +info', /~<REDIS_PREFIX>:\*/],
      ['nozadd', '~bellwire:* &bellwire:* +@all -@admin -@dangerous +info -zadd', /'zadd' command/],
      ['nolua', '~bellwire:* &bellwire:* +@all -@admin -@dangerous +info -@scripting', /evalsha/]
    ] as const) {
      await redis.say(`ACL SETUSER ${user} on >pw ${rights}`)
      const { store, lines } = await open(t, `redis://${user}:pw@127.0.0.1:${redis.port}`)
      t.match(store.status().reason, lacking, `${user}: the status says what is lacking`)
      t.match(store.status().reason, /\+@all -@admin -@dangerous \+info/)
      t.match(lines.join('\n'), lacking, 'and the log')
    }
  }
)

t.test(
  'a Redis user without a channel permission is reported, and every write is still complete',
  { skip: skipOwnServer },
  async (t) => {
    const redis = await startRedis(t)
    const rights = 'on >pw ~bellwire:* +@all -@admin -@dangerous +info'
    for (const [user, more, lacking] of [
      ['nochannel', '', /channel permission: &bellwire:\*/],
      ['nopublish', '&bellwire:* -publish', /'publish' command/]
    ] as const) {
      await redis.say(`ACL SETUSER ${user} ${rights} ${more}`)
      const { store, lines } = await open(t, `redis://${user}:pw@127.0.0.1:${redis.port}`)
      t.match(
        store.status(),
        { healthy: false, misconfigured: true, reason: lacking },
        `${user}: not ready, with the reason`
      )
      t.match(store.status().reason, /\+@all -@admin -@dangerous \+info/)
      t.match(lines.join('\n'), lacking, 'and the log')
      const item = publication({ user }, { idempotency: { key: user, fingerprint: 'f' } })
      t.match(
        await store.publish([item]),
        [{ kind: 'accepted' }],
        'an event that was stored is accepted'
      )
      t.match(await store.publish([item]), [{ kind: 'replayed' }], 'it was appended once')
      t.match(await store.counts(user, scopeOf(user, [])), { unread: 1 })
      await redis.say(`ACL SETUSER ${user} &bellwire:* +publish`)
      await eventually(() => store.status().healthy)
      t.equal(lines.length, 1, 'a permission that is granted later works without a restart')
    }
  }
)

t.test(
  'a permission or key that is missing in the middle of a write leaves nothing of it',
  { skip: skipOwnServer },
  async (t) => {
    const redis = await startRedis(t)
    await redis.say(
      'ACL SETUSER bell on >pw ~bellwire:* &bellwire:* +@all -@admin -@dangerous +info'
    )
    const { store } = await open(t, `redis://bell:pw@127.0.0.1:${redis.port}`)
    const ann = publication(
      { user: 'ann' },
      { key: 'k', idempotency: { key: 'once', fingerprint: 'f' } }
    )
    await redis.say('ACL SETUSER bell -info')
    await t.rejects(store.publish([ann]), { name: 'StoreError', kind: 'unavailable' })
    await redis.say('ACL SETUSER bell +info')
    t.match(
      await store.publish([ann]),
      [{ kind: 'accepted' }],
      'the refused call has not used up its idempotency key'
    )
    t.match(await store.counts('ann', scopeOf('ann', [])), { unread: 1 })

    await redis.say('ACL SETUSER bell -info')
    await t.rejects(store.mark('ann', 'read', { ids: [ann.id], allows: () => true }))
    await t.rejects(store.revoke('ann'))
    await redis.say('ACL SETUSER bell +info')
    t.match(
      await store.counts('ann', scopeOf('ann', [])),
      { unread: 1 },
      'a refused mark has marked nothing'
    )

    // As a Redis does that evicts keys.
    await redis.say('DEL bellwire:{bellwire}:l:user:ann')
    t.match(await store.publish([publication({ user: 'ann' }, { key: 'k' })]), [
      { kind: 'accepted' }
    ])
    await store.erase('ann')
    t.match(await store.publish([publication({ user: 'ann' }, { key: 'k' })]), [
      { kind: 'accepted' }
    ])
    t.match(await store.counts('ann', scopeOf('ann', [])), { unread: 1 })
  }
)
