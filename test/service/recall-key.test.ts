import t from 'tap'
import {
  call,
  MONITOR_KEY,
  openStream,
  PUBLISH_KEY,
  publish,
  startService,
  tokenOf
} from './harness.ts'

const service = await startService(t)
const recall = (query: string, key = PUBLISH_KEY) =>
  call('DELETE', `${service.url}/v1/notifications?${query}`, { key })
const send = async (to: object, key: string): Promise<string> =>
  (await publish(service, { to, key })).body.id
const inboxOf = async (user: string, topics: string[] = []): Promise<string[]> =>
  (await call('GET', `${service.url}/v1/inbox`, { key: tokenOf(user, topics) })).body.items.map(
    (item: { id: string }) => item.id
  )

t.test('a recall by key removes the notification from the named channel alone', async (t) => {
  const users = await send({ users: ['ann', 'auth0|7'] }, 'build: 7')
  const news = await send({ topic: 'news' }, 'build: 7')
  const all = await send({ everyone: true }, 'build: 7')
  const stream = await openStream(t, `${service.url}/v1/stream`, { token: tokenOf('ann') })
  await stream.until(({ event }) => event === 'ready')
  t.same(await inboxOf('ann', ['news']), [all, news, users])
  const key = `key=${encodeURIComponent('build: 7')}`
  const answer = await recall(`user=ann&${key}`)
  t.equal(answer.status, 204)
  t.equal(answer.text, '')
  t.match((await stream.until(({ event }) => event === 'state')).data, {
    op: 'removed',
    ids: [users],
    counts: { unread: 1, unseen: 1 }
  })
  const again = await recall(`user=ann&${key}`)
  t.equal(again.status, 404)
  t.match(again.body.type, /not-found$/)
  t.same(await inboxOf('ann', ['news']), [all, news])
  t.same(await inboxOf('auth0|7'), [all, users], 'the other recipient keeps it')
  const verdictOf = async (user: string): Promise<string> =>
    (
      await call('GET', `${service.url}/monitor/notifications/${users}?user=${user}`, {
        key: MONITOR_KEY
      })
    ).body.user.verdict
  t.equal(await verdictOf('ann'), 'recalled')
  t.equal(await verdictOf('auth0%7C7'), 'not_connected')
  t.equal((await recall(`topic=news&${key}`)).status, 204)
  t.same(await inboxOf('ann', ['news']), [all])
  t.equal((await recall(`everyone=true&${key}`)).status, 204)
  t.same(await inboxOf('ann', ['news']), [])
  t.equal((await recall(`everyone=true&${key}`)).status, 404)
  t.equal((await recall(`user=auth0%7C7&${key}`)).status, 204)
  t.equal(
    (await call('GET', `${service.url}/v1/notifications/${users}`, { key: PUBLISH_KEY })).status,
    404
  )
  stream.close()
})

t.test('a recall by key names one channel and a key', async (t) => {
  for (const [query, pointer] of [
    ['', 'key'],
    ['key=k', 'user'],
    ['user=ann', 'key'],
    ['user=ann&key=', 'key'],
    [`user=ann&key=${'x'.repeat(129)}`, 'key'],
    ['user=a%20b&key=k', 'user'],
    ['topic=a%7Cb&key=k', 'topic'],
    ['everyone=false&key=k', 'everyone'],
    ['user=ann&topic=news&key=k', 'user'],
    ['user=ann&everyone=true&key=k', 'user']
  ] as const) {
    const { status, body } = await recall(query)
    t.equal(status, 422, query)
    t.ok(
      body.errors.some((fault: { pointer: string }) => fault.pointer === pointer),
      JSON.stringify(body.errors)
    )
  }
  t.equal((await recall('user=ann&key=k', 'no-key-of-ours')).status, 401)
})
