import { test } from 'tap'
import { createInbox } from '../../src/client/index.ts'
import { eventually, publish, startService, tokenOf } from '../service/harness.ts'

test('an inbox shows what is published, once, and what is marked, at once', async (t) => {
  const service = await startService(t)
  const inbox = createInbox({ url: service.url, token: tokenOf('u1', ['news']) })
  t.teardown(() => inbox.close())
  const titles: (string | undefined)[] = []
  const marks: unknown[] = []
  inbox.on('notification', ({ item }) => titles.push(item.title))
  inbox.on('state', ({ op }) => marks.push(op))
  await eventually(() => inbox.status === 'live')
  await publish(service, { to: { user: 'u1' }, title: 'one' })
  await publish(service, { to: { topic: 'news' }, title: 'two' })
  await eventually(() => inbox.items.length === 2)
  t.same(inbox.counts, { unread: 2, unseen: 2 })
  const marked = inbox.read(inbox.items[0]!.id)
  t.same(inbox.counts, { unread: 1, unseen: 1 }, 'before the service has answered')
  await marked
  await inbox.readAll()
  await eventually(() => marks.length === 2)
  t.same(titles, ['one', 'two'])
  t.same(inbox.counts, { unread: 0, unseen: 0 })
})
