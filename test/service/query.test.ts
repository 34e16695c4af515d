import t from 'tap'
import { call, PUBLISH_KEY, startService, tokenOf } from './harness.ts'

t.test('a repeated query parameter behaves like a single one', async (t) => {
  const service = await startService(t)
  const authorization = `Bearer ${tokenOf('ann', ['a', 'b', 'c'])}`
  const ready = async (query: string): Promise<{ topics: string[] }> =>
    (await call('GET', `${service.url}/v1/changes?${query}`, { headers: { authorization } })).body
      .events[0].data
  t.same((await ready('topics=a&topics=b')).topics, ['a', 'b'], 'lists are joined')
  t.same((await ready('topics=a,c&topics=b,a')).topics, ['a', 'b', 'c'])
  t.same((await ready('topics=&topics=a')).topics, ['a'])
  t.same((await ready('topics=')).topics, [])

  for (const topic of ['a', 'b'])
    await call('POST', `${service.url}/v1/notifications`, {
      key: PUBLISH_KEY,
      body: { to: { topic }, type: 't' }
    })
  const inbox = await call('GET', `${service.url}/v1/inbox?topics=a&topics=b&limit=1&limit=50`, {
    headers: { authorization }
  })
  t.equal(inbox.status, 200)
  t.equal(inbox.body.items.length, 1, 'of others the first one counts')
  t.same(inbox.body.counts, { unread: 2, unseen: 2 })
  const twice = `since=${inbox.body.cursor}&since=nonsense&wait=0&wait=30`
  const later = await call('GET', `${service.url}/v1/changes?${twice}`, {
    headers: { authorization }
  })
  t.same(later.body.events, [])

  const response = await fetch(`${service.url}/v1/stream?topics=a&topics=b&ticket=x&ticket=y`, {
    headers: { authorization }
  })
  t.equal(response.status, 401, 'the first ticket is tried')
  t.match(((await response.json()) as { detail: string }).detail, /ticket/)
})
