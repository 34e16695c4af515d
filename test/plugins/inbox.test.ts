import { request } from 'node:http'
import t from 'tap'
import {
  json,
  problemOf,
  produce,
  type Served,
  servePlugins,
  subscribe
} from '../fixtures/serve-plugins.ts'

interface Page {
  items: { id: string; title: string; topic?: string; readAt: string | null; seen: boolean }[]
  counts: { unread: number; unseen: number }
  cursor: string
  next: string | null
}
interface Marked {
  affected: number
  counts: { unread: number; unseen: number }
  cursor: string
}

async function publish(served: Served, to: unknown, title: string): Promise<string> {
  const response = await produce(served, '/v1/notifications', { to, type: 'note', title })
  return (await json<{ id: string }>(response)).id
}
const page = async (served: Served, user: string, query = ''): Promise<Page> =>
  json<Page>(await subscribe(served, user, `/v1/inbox${query}`))
const mark = async (served: Served, user: string, path: string, body: unknown): Promise<Marked> =>
  json<Marked>(await subscribe(served, user, `/v1/inbox/${path}`, body))
const titles = ({ items }: Page): string[] => items.map(({ title }) => title)

/** Like fetch, but can send the headers that fetch forbids. */
function post(
  served: Served,
  path: string,
  headers: Record<string, string>,
  body: string
): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(`${served.address}${path}`, { method: 'POST', headers }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0))
    })
    sent.on('error', reject).end(body)
  })
}

t.test('the pages of the inbox are newest first, and contain each item once', async (t) => {
  const served = await servePlugins(t)
  for (let i = 1; i <= 5; i++) await publish(served, { user: 'ada' }, `n${i}`)
  const first = await page(served, 'ada', '?limit=2')
  t.strictSame(titles(first), ['n5', 'n4'])
  t.strictSame(first.counts, { unread: 5, unseen: 5 })
  await publish(served, { user: 'ada' }, 'n6')
  const second = await page(served, 'ada', `?limit=2&before=${first.next}`)
  const third = await page(served, 'ada', `?limit=2&before=${second.next}`)
  t.strictSame([titles(second), titles(third), third.next], [['n3', 'n2'], ['n1'], null])
  t.strictSame(titles(await page(served, 'bob')), [])
})

t.test('a query that breaks a rule gets 422, which names the parameter', async (t) => {
  const served = await servePlugins(t)
  const { cursor } = await page(served, 'ada')
  const beyond = `${cursor.replace(/\d+$/, '')}999`
  for (const [query, pointer] of [
    ['status=old', 'status'],
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['limit=1e1', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['before=nonsense', 'before'],
    ['before=', 'before'],
    ['before=other-1', 'before'],
    [`before=${beyond}`, 'before'],
    ['topics=a,,b', 'topics'],
    ['topics=a*', 'topics']
  ] as const) {
    const { status, pointers } = await problemOf(
      await subscribe(served, 'ada|a*', `/v1/inbox?${query}`)
    )
    t.strictSame([status, pointers], [422, [pointer]], query)
  }
  t.match(await problemOf(await subscribe(served, 'ada|news', '/v1/inbox?topics=news,other')), {
    status: 403,
    slug: 'forbidden'
  })
  t.match(await problemOf(await fetch(`${served.address}/v1/inbox`)), { status: 401 })
})

t.test(
  'the inbox reads the topics of the credential, narrowed or widened by the query',
  async (t) => {
    const served = await servePlugins(t)
    await publish(served, { topic: 'news' }, 'news')
    await publish(served, { topic: 'team:1' }, 'team')
    await publish(served, { everyone: true }, 'all')
    t.strictSame(titles(await page(served, 'ada|news,team:*')), ['all', 'news'])
    t.strictSame(titles(await page(served, 'ada|news,team:*', '?topics=team:1')), ['all', 'team'])
    t.strictSame(titles(await page(served, 'ada|news,team:*', '?topics=')), ['all'])
    t.strictSame(titles(await page(served, 'ada|news,team:*', '?topics=news,team:1,news')), [
      'all',
      'team',
      'news'
    ])
  }
)

t.test('a response that the client already has is 304, until something changes', async (t) => {
  const served = await servePlugins(t)
  const id = await publish(served, { user: 'ada' }, 'n1')
  const response = await subscribe(served, 'ada', '/v1/inbox')
  const etag = response.headers.get('etag') ?? ''
  t.match(etag, /^W\/"[^"]+"$/)
  t.equal(response.headers.get('cache-control'), 'private, no-cache')
  t.equal(response.headers.get('vary'), 'Authorization, Cookie, Origin')
  for (const known of [etag, etag.slice(2), `"x", ${etag}`, '*']) {
    const again = await subscribe(served, 'ada', '/v1/inbox', undefined, { 'if-none-match': known })
    t.strictSame([again.status, again.headers.get('etag'), await again.text()], [304, etag, ''])
  }
  await mark(served, 'ada', 'read', { ids: [id] })
  t.equal(
    (await subscribe(served, 'ada', '/v1/inbox', undefined, { 'if-none-match': etag })).status,
    200
  )
})

t.test('a mark returns what it changed, and changes nothing when it is repeated', async (t) => {
  const served = await servePlugins(t)
  const ids = [
    await publish(served, { user: 'ada' }, 'n1'),
    await publish(served, { topic: 'news' }, 'n2'),
    await publish(served, { everyone: true }, 'n3')
  ]
  const foreign = await publish(served, { user: 'bob' }, 'secret')
  const ada = 'ada|news'
  const { cursor } = await page(served, ada)
  const strange = ['never-was', '', '../..', 'a b', 'é'.repeat(200)]
  const read = await mark(served, ada, 'read', { ids: [ids[0], ids[0], foreign, ...strange] })
  t.match(read, { affected: 1, counts: { unread: 2, unseen: 2 } })
  t.not(read.cursor, cursor)
  t.strictSame(await mark(served, ada, 'read', { ids: [ids[0]] }), { ...read, affected: 0 })
  t.match(await page(served, 'bob'), { counts: { unread: 2 } })
  t.match(await mark(served, ada, 'seen', { upTo: cursor }), {
    affected: 2,
    counts: { unread: 2, unseen: 0 }
  })
  t.match(await mark(served, ada, 'unread', { ids: [ids[0]] }), {
    affected: 1,
    counts: { unread: 3, unseen: 0 }
  })
  t.match(await mark(served, ada, 'archive', { ids: [ids[1]] }), {
    affected: 1,
    counts: { unread: 2 }
  })
  t.strictSame(titles(await page(served, ada)), ['n3', 'n1'])
  t.strictSame(titles(await page(served, ada, '?status=archived')), ['n2'])
  t.match(await mark(served, ada, 'read', { upTo: cursor }), { counts: { unread: 0, unseen: 0 } })
  t.match(await mark(served, ada, 'read', { ids: [] }), { affected: 0 })
  t.strictSame(await json(await subscribe(served, ada, '/v1/inbox/counts')), {
    unread: 0,
    unseen: 0
  })
})

t.test('a mark by id reaches a topic that only a wildcard allows', async (t) => {
  const served = await servePlugins(t)
  const id = await publish(served, { topic: 'team:1' }, 'n1')
  t.match(await mark(served, 'ada|team:*', 'read', { ids: [id] }), { affected: 1 })
  t.match(await mark(served, 'ada|other:*', 'read', { ids: [id] }), { affected: 0 })
})

t.test('a mark that breaks a rule gets 422, with a pointer to the fault', async (t) => {
  const served = await servePlugins(t)
  for (const [path, body, pointers] of [
    ['read', {}, ['']],
    ['read', { ids: [], upTo: 'x-1' }, ['']],
    ['read', { ids: 'x' }, ['/ids']],
    ['read', { ids: [7] }, ['/ids/0']],
    ['read', { ids: Array.from({ length: 501 }, (_, i) => `${i}`) }, ['/ids']],
    ['read', { upTo: 'nonsense' }, ['/upTo']],
    ['read', { upTo: 'other-0' }, ['/upTo']],
    ['archive', { user: 'bob', ids: [] }, ['/user']],
    ['unread', { ids: [], upTo: 'x-1' }, ['/upTo']],
    ['seen', { ids: ['x'] }, ['/upTo', '/ids']],
    ['seen', { upTo: null }, ['/upTo']]
  ] as const) {
    const problem = await problemOf(await subscribe(served, 'ada', `/v1/inbox/${path}`, body))
    t.strictSame(
      [problem.status, problem.pointers],
      [422, pointers],
      `${path} ${JSON.stringify(body).slice(0, 40)}`
    )
  }
})

t.test('a null field in the body of a mark counts as omitted', async (t) => {
  const served = await servePlugins(t)
  const { cursor } = await mark(served, 'ada', 'read', { ids: ['x'], upTo: null })
  t.match(await mark(served, 'ada', 'archive', { ids: null, upTo: cursor }), {
    affected: 0,
    cursor
  })
  const { status } = await problemOf(
    await subscribe(served, 'ada', '/v1/inbox/read', { ids: null, upTo: null })
  )
  t.equal(status, 422)
})

t.test('a request with a cookie can mark only from a trusted page, and only as JSON', async (t) => {
  const served = await servePlugins(t, { publicUrl: 'https://bell.example/path' })
  const host = new URL(served.address).host
  const cookie = { cookie: 'session=ada', 'content-type': 'application/json' }
  const body = '{"ids":[]}'
  const marks = (headers: Record<string, string>): Promise<number> =>
    post(served, '/v1/inbox/read', headers, body)
  t.equal(await marks(cookie), 200, 'without Origin it is not a browser')
  t.equal(await marks({ ...cookie, origin: `http://${host}` }), 200, 'our own origin')
  t.equal(await marks({ ...cookie, origin: 'https://bell.example' }), 200, 'PUBLIC_URL')
  t.equal(await marks({ ...cookie, origin: 'https://friend.example' }), 200, 'CORS_ORIGINS')
  t.equal(
    await marks({ ...cookie, host: 'bell.test:80', origin: 'http://bell.test' }),
    200,
    'the default port'
  )
  for (const origin of [
    'null',
    'https://evil.example',
    `https://${host}`,
    'http://127.0.0.1:1',
    'https://friend.example.evil.example',
    'nonsense',
    ''
  ]) {
    t.equal(await marks({ ...cookie, origin }), 403, origin)
  }
  t.equal(
    await marks({
      ...cookie,
      host: 'bell.test',
      'x-forwarded-host': 'evil.example',
      origin: 'http://evil.example'
    }),
    403,
    'headers of an untrusted proxy are ignored'
  )
  t.equal(await marks({ cookie: 'session=ada', 'content-type': 'text/plain' }), 415)
  t.equal(await marks({ cookie: 'session=ada' }), 415)
  t.equal(
    await marks({
      authorization: 'Bearer ada',
      'content-type': 'application/json',
      origin: 'https://evil.example'
    }),
    200,
    'a bearer token'
  )
})

t.test('behind a trusted proxy, our own origin is the one that the browser used', async (t) => {
  const served = await servePlugins(t, { trustProxy: true })
  const headers = {
    cookie: 'session=ada',
    'content-type': 'application/json',
    'x-forwarded-host': 'bell.test',
    'x-forwarded-proto': 'https'
  }
  t.equal(
    await post(served, '/v1/inbox/read', { ...headers, origin: 'https://bell.test' }, '{"ids":[]}'),
    200
  )
  t.equal(
    await post(served, '/v1/inbox/read', { ...headers, origin: 'http://bell.test' }, '{"ids":[]}'),
    403
  )
})

t.test('a subscriber has one limit of requests a minute for all routes', async (t) => {
  const served = await servePlugins(t, { rateLimit: 2 })
  await subscribe(served, 'ada', '/v1/inbox')
  await subscribe(served, 'ada', '/v1/inbox/counts')
  const refused = await subscribe(served, 'ada', '/v1/inbox/read', { ids: [] })
  t.ok(Number(refused.headers.get('retry-after')) > 0)
  t.match(await problemOf(refused), { status: 429, slug: 'rate-limited' })
  t.equal((await subscribe(served, 'bob', '/v1/inbox')).status, 200)
})
