import { once } from 'node:events'
import { test } from 'tap'
import {
  type BellwireError,
  createInbox,
  type Inbox,
  type InboxOptions
} from '../../src/client/index.ts'
import { eventually } from '../fixtures/eventually.ts'
import { jwt } from '../fixtures/jwt.ts'
import {
  call,
  PUBLISH_KEY,
  publish,
  type Service,
  startService,
  tokenOf
} from '../service/harness.ts'

// The SDK connects only in a page; these tests pretend to be one.
Object.assign(globalThis, { window: globalThis })

type Teardown = { teardown(fn: () => unknown): void }

function open(t: Teardown, service: Pick<Service, 'url'>, options: InboxOptions): Inbox {
  const inbox = createInbox({ url: service.url, ...options })
  t.teardown(() => inbox.close())
  return inbox
}

const live = (inbox: Inbox): Promise<void> => eventually(() => inbox.status === 'live')
const titles = (inbox: Inbox): (string | undefined)[] => inbox.items.map(({ title }) => title)

/** The error that a promise rejects with. */
const errorOf = (promise: Promise<unknown>): Promise<BellwireError> =>
  promise.then(
    () => {
      throw new Error('it resolved')
    },
    (error: BellwireError) => error
  )

test('an inbox connected to a real service', async (t) => {
  const service = await startService(t, { env: { HEARTBEAT_MS: '200' } })

  await t.test('it shows each published item once, and each mark at once', async (t) => {
    const inbox = open(t, service, { token: tokenOf('u1', ['news']) })
    const told: (string | undefined)[] = []
    const marks: string[] = []
    inbox.on('notification', ({ op, item }) => told.push(`${op} ${item.title}`))
    inbox.on('state', ({ op }) => marks.push(op))
    await live(inbox)
    t.same(inbox.state, {
      items: [],
      counts: { unread: 0, unseen: 0 },
      status: 'live',
      hasMore: false,
      user: 'u1',
      error: null
    })
    await publish(service, { to: { user: 'u1' }, title: 'one', key: 'k' })
    await publish(service, { to: { topic: 'news' }, title: 'two' })
    await publish(service, { to: { user: 'u1' }, title: 'now', ephemeral: true })
    await publish(service, { to: { user: 'u1' }, title: 'one again', key: 'k' })
    await eventually(() => told.length === 4)
    t.same(told, ['created one', 'created two', 'created now', 'updated one again'])
    t.same(titles(inbox), ['one again', 'two'], 'what is ephemeral is told and not kept')
    t.same(inbox.counts, { unread: 2, unseen: 2 })

    const marked = inbox.read(inbox.items[1]!.id)
    t.same(inbox.counts, { unread: 1, unseen: 1 }, 'before the service has answered')
    await marked
    await inbox.unread([inbox.items[1]!.id])
    t.same(inbox.counts, { unread: 2, unseen: 1 })
    await inbox.seen()
    t.same(inbox.counts, { unread: 2, unseen: 0 })
    await inbox.archive(inbox.items[0]!.id)
    t.same(titles(inbox), ['two'])
    await inbox.readAll()
    await inbox.archiveAll()
    await eventually(() => marks.length === 6)
    t.same(marks, ['read', 'unread', 'seen', 'archived', 'read', 'archived'])
    t.same([titles(inbox), inbox.counts], [[], { unread: 0, unseen: 0 }])
  })

  await t.test(
    'listeners run once a turn, and an unchanged state is the same object',
    async (t) => {
      const inbox = open(t, service, { token: tokenOf('subscriber') })
      await live(inbox)
      for (let n = 0; n < 5; n++)
        await publish(service, { to: { user: 'subscriber' }, title: `${n}` })
      await eventually(() => inbox.items.length === 5)
      t.equal(inbox.state, inbox.state)
      let told = 0
      const stop = inbox.subscribe((state) => {
        told++
        t.equal(state, inbox.state)
      })
      const marks = inbox.items.map(({ id }) => inbox.read(id))
      for (let turn = 0; turn < 3; turn++) await Promise.resolve()
      t.equal(told, 1)
      stop()
      await Promise.all(marks)
      t.equal(told, 1, 'not after the end')
    }
  )

  await t.test('older pages are appended and reflect marks made meanwhile', async (t) => {
    const batch = Array.from({ length: 25 }, (_, n) => ({
      to: { user: 'pages' },
      type: 't',
      title: `${n}`
    }))
    await call('POST', `${service.url}/v1/notifications/batch`, {
      key: PUBLISH_KEY,
      body: { notifications: batch }
    })
    const inbox = open(t, service, { token: tokenOf('pages'), pageSize: 10 })
    await live(inbox)
    t.same(inbox.counts, { unread: 25, unseen: 25 })
    t.equal(inbox.state.hasMore, true)
    const [first, same] = [inbox.loadMore(), inbox.loadMore()]
    const all = inbox.readAll()
    t.same(await Promise.all([first, same]), [true, true])
    t.equal(inbox.items.length, 20, 'asked twice at once, loaded once')
    await all
    t.equal(await inbox.loadMore(), false)
    t.same(titles(inbox), batch.map(({ title }) => title).reverse())
    await eventually(() => inbox.items.every(({ readAt }) => readAt !== null))
    t.equal(inbox.state.hasMore, false)
  })

  await t.test('an expired item leaves the page and the counts', async (t) => {
    const inbox = open(t, service, { token: tokenOf('expires') })
    await live(inbox)
    await publish(service, { to: { user: 'expires' }, title: 'stays' })
    await publish(service, { to: { user: 'expires' }, title: 'goes', ttl: 1 })
    await eventually(() => inbox.counts.unread === 2)
    await eventually(() => inbox.counts.unread === 1 && inbox.items.length === 1)
    t.same(titles(inbox), ['stays'])
  })

  await t.test('a mark that the service rejects is undone and reports the reason', async (t) => {
    const inbox = open(t, service, { token: tokenOf('refused') })
    await live(inbox)
    await publish(service, { to: { user: 'refused' }, title: 'a' })
    await eventually(() => inbox.items.length === 1)
    const marked = inbox.read([
      inbox.items[0]!.id,
      ...Array.from({ length: 500 }, (_, n) => `${n}`)
    ])
    t.equal(inbox.counts.unread, 0)
    t.match(await errorOf(marked), {
      name: 'BellwireError',
      code: 'validation',
      status: 422,
      message: /500 ids/
    })
    t.equal(inbox.counts.unread, 1)
    inbox.close()
    t.match(await errorOf(inbox.readAll()), { code: 'closed', status: 0 })
    t.equal(inbox.items.length, 1, 'what was shown stays readable')
  })

  await t.test('topics may be one string, and an empty url means the page’s origin', async (t) => {
    // A page at another path, which the service's address must not inherit.
    Object.assign(globalThis, { location: new URL('/shop/cart?x=1', service.url) })
    t.teardown(() => Reflect.deleteProperty(globalThis, 'location'))
    const inbox = open(t, service, {
      url: '',
      token: tokenOf('lister', ['a', 'b', 'c']),
      topics: 'a,b'
    })
    await live(inbox)
    await publish(service, { to: { topic: 'c' }, title: 'c' })
    await publish(service, { to: { topic: 'b' }, title: 'b' })
    await eventually(() => titles(inbox).includes('b'))
    t.same(titles(inbox), ['b'])
  })

  await t.test('a rejected credential or topic becomes a status', async (t) => {
    const stranger = open(t, service, { token: 'no-token' })
    await eventually(() => stranger.status === 'unauthorized')
    t.match(stranger.state.error, { code: 'unauthenticated', status: 401 })
    const curious = open(t, service, { token: tokenOf('u1'), topics: ['secret'] })
    await eventually(() => curious.status === 'unauthorized')
    t.match(curious.state.error, { code: 'forbidden', status: 403, message: /secret/ })
  })

  await t.test(
    'concurrent requests share one token call; a refusal or a failed call asks again',
    async (t) => {
      const given: string[] = []
      const tokens = [tokenOf('asked'), tokenOf('asked')]
      let fails = true
      const inbox = open(t, service, {
        token: async () => {
          if (fails) throw new Error('our backend is away')
          given.push(tokens[0]!)
          return tokens.shift()!
        }
      })
      await eventually(() => inbox.state.error !== null)
      t.match(inbox.state.error, { code: 'token', message: /our backend is away/ })
      fails = false
      const marks = [inbox.read('a'), inbox.read('b'), inbox.loadMore()]
      await live(inbox)
      await Promise.all(marks)
      t.equal(given.length, 1)
    }
  )

  await t.test(
    'after a 401 the token is requested again, once for all refused requests',
    async (t) => {
      let asked = 0
      const past = jwt({ sub: 'late', exp: Math.floor(Date.now() / 1000) - 60 })
      const inbox = open(t, service, {
        user: 'late',
        token: () => (asked++ === 0 ? past : tokenOf('late'))
      })
      const marks = [inbox.read('a'), inbox.unread('b')]
      await live(inbox)
      await Promise.all(marks)
      t.equal(asked, 2)
    }
  )
})

test('a service that is silent, down, or shuts down cleanly', async (t) => {
  // In parallel: the subtests mostly wait for pauses, and each has its own service.
  t.jobs = 3

  t.test('silence is detected and loses nothing', { buffered: true }, async (t) => {
    const service = await startService(t, { env: { HEARTBEAT_MS: '200' } })
    const inbox = open(t, service, { token: tokenOf('u1') })
    const told: string[] = []
    inbox.on('notification', ({ item }) => told.push(item.title!))
    await live(inbox)
    await publish(service, { to: { user: 'u1' }, title: 'a' })
    await eventually(() => told.length === 1)
    service.child.kill('SIGSTOP')
    await eventually(() => inbox.status === 'connecting')
    t.match(inbox.state.error, { code: 'silent' })
    service.child.kill('SIGCONT')
    await live(inbox)
    await publish(service, { to: { user: 'u1' }, title: 'b' })
    await eventually(() => told.length === 2)
    t.same(told, ['a', 'b'])
  })

  t.test('while the service is down marks show and wait', { buffered: true }, async (t) => {
    const service = await startService(t)
    const inbox = open(t, service, { token: tokenOf('u1') })
    await live(inbox)
    await publish(service, { to: { user: 'u1' }, title: 'a' })
    await eventually(() => inbox.counts.unread === 1)
    await service.kill('SIGKILL')
    await eventually(() => inbox.state.error !== null)
    t.match(inbox.state.error, { code: 'network', status: 0, message: /no answer/ })
    const marked = inbox.readAll()
    t.equal(inbox.counts.unread, 0)
    const again = await startService(t, {
      env: { PORT: new URL(service.url).port },
      dataDir: service.dataDir
    })
    await eventually(() => inbox.status === 'live')
    await marked
    t.equal(
      (await call('GET', `${again.url}/v1/inbox/counts`, { key: tokenOf('u1') })).body.unread,
      0
    )
  })

  t.test('the client waits for the retry time of a goodbye', { buffered: true }, async (t) => {
    const service = await startService(t, { env: { MAX_CONNECTIONS: '1', DRAIN_MS: '200' } })
    const first = open(t, service, { token: tokenOf('u1') })
    await live(first)
    const second = open(t, service, { token: tokenOf('u2') })
    const statuses: string[] = []
    second.on('status', (status) => statuses.push(status))
    const refused = async (): Promise<number> => {
      const { body } = await call('GET', `${service.url}/monitor`, { key: 'test-monitor-key' })
      return body.connections.refused.limit ?? 0
    }
    await eventually(async () => (await refused()) === 1)
    // For at least 5 seconds the first client gets everything it asks for.
    await publish(service, { to: { user: 'u1' }, title: 'a' })
    await eventually(() => first.items.length === 1)
    t.equal(await refused(), 1)
    t.same([second.status, statuses], ['connecting', []])
    const gone = once(service.child, 'exit')
    service.child.kill('SIGTERM')
    await eventually(() => first.status === 'connecting')
    t.equal(first.state.error, null, 'an orderly goodbye is no error')
    await gone
  })
})
