import { test } from 'tap'
import { eventually } from '../fixtures/eventually.ts'
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

const trace = async (service: Service, id: string, user?: string) =>
  call(
    'GET',
    `${service.url}/monitor/notifications/${id}${user === undefined ? '' : `?user=${user}`}`,
    { key: MONITOR_KEY }
  )

test('the delivery report shows producer, timing, recipients and what each of them did', async (t) => {
  const service = await startService(t)
  const ann = await openStream(t, `${service.url}/v1/stream`, { token: tokenOf('ann', ['news']) })
  const bob = await openStream(t, `${service.url}/v1/stream`, { token: tokenOf('bob') })
  for (const stream of [ann, bob]) await stream.until((frame) => frame.event === 'ready')

  const { body: one } = await publish(service, {
    to: { users: ['ann', 'carl'] },
    title: 'A secret title'
  })
  await ann.until((frame) => frame.data.item?.id === one.id)
  await call('POST', `${service.url}/v1/inbox/read`, {
    key: tokenOf('ann'),
    body: { ids: [one.id] }
  })
  const found = await trace(service, one.id, 'ann')
  t.equal(found.status, 200)
  t.match(found.body, {
    id: one.id,
    fate: 'stored',
    acceptedAt: one.createdAt,
    producer: 'tests',
    to: { users: ['ann', 'carl'] },
    channels: [{ channel: 'user:ann' }, { channel: 'user:carl' }],
    written: { connections: 1 },
    readers: { seen: 1, read: 1, unread: 1 },
    user: { user: 'ann', verdict: 'written', connections: [{ id: /./, closedAt: null }] }
  })
  t.ok(found.body.durableAfterMs > 0)
  t.notMatch(found.text, /secret title/, 'no content')
  const verdict = async (id: string, user: string) =>
    (await trace(service, id, user)).body.user.verdict
  t.match((await trace(service, one.id, 'carl')).body.user, {
    verdict: 'not_connected',
    explanation: /for a topic: if the credential lists it/
  })
  t.equal(await verdict(one.id, 'bob'), 'not_addressed')

  const { body: news } = await publish(service, { to: { topic: 'news' }, title: 'News' })
  await ann.until((frame) => frame.data.item?.id === news.id)
  t.equal(await verdict(news.id, 'bob'), 'topic_not_read')
  t.match((await trace(service, news.id)).body, {
    written: { connections: 1 },
    readers: { unread: null }
  })

  ann.close()
  await eventually(
    async () => (await trace(service, news.id, 'ann')).body.user.connections[0]?.closedAt !== null
  )
  t.match((await trace(service, news.id, 'ann')).body.user, {
    verdict: 'written',
    connections: [{ reason: 'gone' }]
  })

  await call('DELETE', `${service.url}/v1/notifications/${one.id}`, { key: PUBLISH_KEY })
  const recalled = (await trace(service, one.id, 'ann')).body
  t.match(recalled, { fate: 'recalled', producer: 'tests', user: { verdict: 'recalled' } })
  t.ok(Date.parse(recalled.recalledAt) >= Date.parse(one.createdAt))

  const { body: first } = await publish(service, { to: { user: 'bob' }, key: 'k' })
  const { body: second } = await publish(service, { to: { user: 'bob' }, key: 'k' })
  t.match((await trace(service, first.id, 'bob')).body, {
    fate: 'replaced',
    replacedBy: second.id,
    user: { verdict: 'replaced' }
  })
  const { body: brief } = await publish(service, { to: { user: 'bob' }, ttl: 1 })
  await eventually(
    async () => (await trace(service, brief.id, 'bob')).body.user.verdict === 'expired'
  )
  const { body: flash } = await publish(service, { to: { user: 'bob' }, ephemeral: true })
  t.match((await trace(service, flash.id, 'bob')).body, {
    fate: 'ephemeral',
    user: { verdict: 'written' }
  })
  t.equal((await trace(service, flash.id, 'carl')).body.user.verdict, 'not_addressed')

  // After a restart the log still knows what is durable.
  await service.kill('SIGKILL')
  const again = await startService(t, { dataDir: service.dataDir })
  t.match((await trace(again, news.id, 'ann')).body, {
    fate: 'stored',
    producer: 'tests',
    durableAfterMs: null,
    written: null,
    user: { verdict: 'not_connected' }
  })
})

test('the delivery report is for operators only, and says what it cannot know', async (t) => {
  const service = await startService(t)
  const path = `${service.url}/monitor/notifications/01a20ec1-efa2-718c-86ce-8a1490b2f0ca`
  t.equal((await call('GET', path, { key: PUBLISH_KEY })).status, 401)
  t.match(await call('GET', path, { key: MONITOR_KEY }), {
    status: 404,
    body: { type: /not-found$/, detail: /never existed/ }
  })
  t.equal((await call('GET', `${path}?user=a%20b`, { key: MONITOR_KEY })).status, 422)
})
