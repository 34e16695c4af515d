import { once } from 'node:events'
import { connect } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { createNotificationId } from '../../src/log/notification-id.ts'
import { json, problemOf, produce, servePlugins, subscribe } from '../fixtures/serve-plugins.ts'

const good = { to: { user: 'ada' }, type: 'greeting' }
interface Result {
  status: number
  id?: string
  problem?: { type: string; errors: { pointer: string }[] }
}

t.test(
  'a publish returns 201 with the id and its Location, where the notification can be looked up',
  async (t) => {
    const served = await servePlugins(t, { basePath: '/bell' })
    const full = {
      to: { users: ['ada', 'bob', 'ada'] },
      type: 'build.done',
      title: 'Dönè 🎉',
      body: 'line\nline',
      url: '/builds/7?x=1#y',
      image: 'https://img.example/7.png',
      level: 'success',
      data: { nested: { list: [1, null, true] } },
      key: 'build 7',
      ttl: 60
    }
    const response = await produce(served, '/v1/notifications', full)
    t.equal(response.status, 201)
    t.match(response.headers.get('content-type'), /^application\/json/)
    const { id, createdAt } = await json<{ id: string; createdAt: string }>(response)
    t.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    t.equal(response.headers.get('location'), `/bell/v1/notifications/${id}`)
    const { ttl: _, ...content } = full
    const found = await json(await produce(served, `/v1/notifications/${id}`, undefined, {}, 'GET'))
    const expiresAt = new Date(Date.parse(createdAt) + 60_000).toISOString()
    t.strictSame(found, { ...content, id, to: { users: ['ada', 'bob'] }, createdAt, expiresAt })
    t.equal((await produce(served, `/v1/notifications/${id}`, undefined, {}, 'DELETE')).status, 204)
    t.equal((await produce(served, `/v1/notifications/${id}`, undefined, {}, 'DELETE')).status, 404)
    t.equal((await produce(served, `/v1/notifications/${id}`, undefined, {}, 'GET')).status, 404)
    t.equal(
      (await produce(served, '/v1/notifications/never%00%2F', undefined, {}, 'GET')).status,
      404
    )
  }
)

const deep = (levels: number): unknown => (levels === 0 ? 1 : { a: deep(levels - 1) })
const bad: [string, unknown, ...string[]][] = [
  ['nobody', { type: 'x' }, '/to'],
  ['an empty recipient', { to: {}, type: 'x' }, '/to'],
  ['two recipients', { to: { user: 'a', topic: 'b' }, type: 'x' }, '/to'],
  ['an unknown recipient', { to: { group: 'a' }, type: 'x' }, '/to/group', '/to'],
  ['a user name with a space', { to: { user: 'a b' }, type: 'x' }, '/to/user'],
  ['a user name of 129 characters', { to: { user: 'a'.repeat(129) }, type: 'x' }, '/to/user'],
  ['no users', { to: { users: [] }, type: 'x' }, '/to/users'],
  [
    '1001 users',
    { to: { users: Array.from({ length: 1001 }, (_, i) => `u${i}`) }, type: 'x' },
    '/to/users'
  ],
  ['a bad one among users', { to: { users: ['a', 'b c'] }, type: 'x' }, '/to/users/1'],
  ['a topic with a wildcard', { to: { topic: 'a*' }, type: 'x' }, '/to/topic'],
  ['everyone: false', { to: { everyone: false }, type: 'x' }, '/to/everyone'],
  ['no type', { to: { user: 'a' } }, '/type'],
  ['a type with a line end', { ...good, type: 'a\nevent: forged' }, '/type'],
  ['a type that ends in a line end', { ...good, type: 'a\n' }, '/type'],
  ['a type of 65 characters', { ...good, type: 'a'.repeat(65) }, '/type'],
  ['a long title', { ...good, title: 'a'.repeat(201) }, '/title'],
  ['a long body', { ...good, body: 'a'.repeat(4001) }, '/body'],
  ['a title that is a number', { ...good, title: 7 }, '/title'],
  ['a level of its own', { ...good, level: 'fatal' }, '/level'],
  ['data that is a list', { ...good, data: [] }, '/data'],
  ['data too deep', { ...good, data: deep(33) }, '/data'],
  ['an empty key', { ...good, key: '' }, '/key'],
  ['a key with a line end', { ...good, key: 'a\n' }, '/key'],
  ['a key beyond ASCII', { ...good, key: 'é' }, '/key'],
  ['ttl 0', { ...good, ttl: 0 }, '/ttl'],
  ['ttl in halves', { ...good, ttl: 1.5 }, '/ttl'],
  ['ttl as text', { ...good, ttl: '60' }, '/ttl'],
  ['an expiry without offset', { ...good, expiresAt: '2999-01-01T00:00:00' }, '/expiresAt'],
  ['an expiry on no day', { ...good, expiresAt: '2999-02-30T00:00:00Z' }, '/expiresAt'],
  ['an expiry that is over', { ...good, expiresAt: '2001-01-01T00:00:00Z' }, '/expiresAt'],
  ['both expiries', { ...good, ttl: 5, expiresAt: '2999-01-01T00:00:00Z' }, '/expiresAt'],
  ['ephemeral as text', { ...good, ephemeral: 'yes' }, '/ephemeral'],
  ['an unknown field', { ...good, colour: 'red' }, '/colour'],
  ['an unknown field with odd characters', { ...good, 'a/b~c': 1 }, '/a~1b~0c'],
  ['a list', [], ''],
  ...[
    'javascript:alert(1)',
    '//evil.example',
    '/\\evil.example',
    '\\\\evil',
    'http://',
    'ftp://x/',
    '',
    ' https://x/',
    '/a\nb',
    '/\t/evil',
    'https://x/\u0085',
    'data:text/html,x'
  ].flatMap((address): [string, unknown, string][] => [
    [`the address ${JSON.stringify(address)}`, { ...good, url: address }, '/url'],
    [`the image ${JSON.stringify(address)}`, { ...good, image: address }, '/image']
  ])
]

t.test('a notification that breaks a rule gets 422, with a pointer to the fault', async (t) => {
  const served = await servePlugins(t)
  for (const [name, body, ...expected] of bad) {
    const response = await produce(served, '/v1/notifications', body)
    const { status, slug, pointers } = await problemOf(response)
    t.strictSame(
      { status, slug, pointers },
      { status: 422, slug: 'validation', pointers: expected },
      name
    )
  }
  t.ok(served.counted.rejected > 40)
  t.equal(served.counted.accepted, 0)
})

t.test(
  'half of a surrogate pair and a number that is too large are rejected, however deep in the body',
  async (t) => {
    const served = await servePlugins(t)
    for (const [member, pointer] of [
      ['"title":"\\ud800"', '/title'],
      ['"body":"a\\udc00b"', '/body'],
      ['"url":"/\\ud800"', '/url'],
      ['"data":{"a":["\\ud800"]}', '/data/a/0'],
      ['"data":{"a":{"x\\ud800":1}}', '/data/a'],
      ['"data":{"a/b":"\\udfff"}', '/data/a~1b'],
      ['"data":{"a":[0,{"b":1e999}]}', '/data/a/1/b'],
      ['"data":{"order":653247040368672768}', '/data/order'],
      ['"data":{"a":[{"b/c":-9007199254740993}]}', '/data/a/0/b~1c'],
      ['"data":{"a":9007199254740992}', '/data/a']
    ]) {
      const { status, pointers } = await problemOf(
        await produce(served, '/v1/notifications', `{"to":{"user":"a"},"type":"x",${member}}`)
      )
      t.strictSame([status, pointers], [422, [pointer]], String(member))
    }
    const pair = await produce(
      served,
      '/v1/notifications',
      '{"to":{"user":"a"},"type":"x","title":"\\ud83c\\udf89"}'
    )
    t.equal(pair.status, 201)
  }
)

t.test('a notification at the limit of every rule is accepted', async (t) => {
  const served = await servePlugins(t)
  for (const more of [
    { to: { everyone: true } },
    { to: { topic: 'project:7/a@b.c-d_e' } },
    { to: { user: '__proto__' } },
    { title: '', body: 'a'.repeat(4000) },
    { data: deep(32) },
    { data: {} },
    { data: { large: 1.5e300, small: -5e-324, whole: 9007199254740991 } },
    { data: { constructor: 'x', 10: 1 } },
    { url: '/' },
    { url: 'HTTPS://Example.org/ä?x= y' },
    { key: '"\\ ~' },
    { ttl: 1e300 },
    { expiresAt: '2999-12-31T23:59:59.123456+05:30' },
    { ephemeral: true },
    {
      title: null,
      body: null,
      url: null,
      image: null,
      level: null,
      data: null,
      key: null,
      expiresAt: null,
      ttl: null,
      ephemeral: null
    },
    { ttl: 5, expiresAt: null },
    { to: { user: 'ada', users: null, topic: null, everyone: null } },
    {
      data: {
        big: Number.MAX_SAFE_INTEGER,
        small: -Number.MAX_SAFE_INTEGER,
        half: 0.5,
        nothing: null
      }
    }
  ]) {
    const response = await produce(served, '/v1/notifications', { ...good, ...more })
    t.equal(response.status, 201, JSON.stringify(more).slice(0, 60))
    await response.arrayBuffer()
  }
})

t.test(
  'the same idempotency key and body are accepted once, even in two requests at the same time',
  async (t) => {
    const served = await servePlugins(t)
    const headers = { 'idempotency-key': 'order-1' }
    const both = await Promise.all([
      produce(served, '/v1/notifications', { ...good, data: { a: 1, b: 2 } }, headers),
      produce(
        served,
        '/v1/notifications',
        { data: { b: 2, a: 1 }, level: 'info', ...good },
        headers
      )
    ])
    t.strictSame(
      both.map(({ status }) => status),
      [201, 201]
    )
    t.strictSame(
      both.map((response) => response.headers.get('idempotent-replayed')).sort(),
      ['true', null].sort()
    )
    const [one, other] = await Promise.all(both.map((response) => response.text()))
    t.equal(one, other)
    t.strictSame(served.counted, { accepted: 1, replayed: 1, rejected: 0 })
    const counts = await json(await subscribe(served, 'ada', '/v1/inbox/counts'))
    t.strictSame(counts, { unread: 1, unseen: 1 })
    const reused = await problemOf(await produce(served, '/v1/notifications', good, headers))
    t.strictSame([reused.status, reused.slug], [422, 'idempotency-key-reused'])
    for (const key of ['', 'a b', 'a'.repeat(256), 'é']) {
      const { status, pointers } = await problemOf(
        await produce(served, '/v1/notifications', good, { 'idempotency-key': key })
      )
      t.strictSame([status, pointers], [422, ['Idempotency-Key']], JSON.stringify(key).slice(0, 20))
    }
  }
)

t.test('a notification can name a thousand different users, and no more', async (t) => {
  const served = await servePlugins(t)
  const users = Array.from({ length: 1000 }, (_, n) => `u${n}`)
  t.equal(
    (await produce(served, '/v1/notifications', { ...good, to: { users: [...users, 'u7', 'u8'] } }))
      .status,
    201
  )
  const { problem } = await problemOf(
    await produce(served, '/v1/notifications', { ...good, to: { users: [...users, 'v'] } })
  )
  t.match(problem.errors, [{ pointer: '/to/users', detail: /at most 1000/ }])
})

t.test(
  '16 KiB of content and a thousand of the longest names fit, alone and in a batch',
  async (t) => {
    const served = await servePlugins(t)
    const users = Array.from({ length: 1000 }, (_, n) => `${n}-`.padEnd(128, 'x'))
    const around = JSON.stringify({ type: 't', data: { a: '' } }).length
    const sized = (bytes: number) => ({
      to: { users },
      type: 't',
      data: { a: 'é'.repeat((bytes - around) / 2) }
    })
    const full = sized(16_384 - ((16_384 - around) % 2))
    t.equal((await produce(served, '/v1/notifications', full)).status, 201)
    t.equal(
      (await produce(served, '/v1/notifications', JSON.stringify(full, null, 2))).status,
      201,
      'white space between members does not count'
    )
    const { results } = await json<{ results: Result[] }>(
      await produce(served, '/v1/notifications/batch', {
        notifications: [{ ...full, idempotencyKey: 'k'.repeat(255) }, sized(16_386 + (around % 2))]
      })
    )
    t.match(results, [
      { status: 201 },
      { status: 422, problem: { errors: [{ detail: /16384 bytes as JSON, not counting to/ }] } }
    ])
  }
)

t.test('a problem lists at most twenty faults, and counts the rest', async (t) => {
  const served = await servePlugins(t)
  const fields = Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`f${n}`, n]))
  const { problem } = await problemOf(
    await produce(served, '/v1/notifications', { ...good, ...fields, title: 7 })
  )
  t.equal(problem.errors?.length, 20)
  t.match(problem.errors?.at(-1), {
    pointer: '',
    detail: 'has 4982 more faults; mend these first',
    more: 4982
  })
  t.match(problem.detail, /\(and 5000 more, see errors\)/)
  const batch = await json<{ results: Result[] }>(
    await produce(served, '/v1/notifications/batch', { notifications: [{ ...good, ...fields }] })
  )
  t.equal(batch.results[0]?.problem?.errors.length, 20)
  const whole = await produce(served, '/v1/notifications/batch', {
    notifications: [good],
    ...fields
  })
  t.match(await problemOf(whole), { status: 422, slug: 'validation', pointers: [/^\/f\d+$/] })
})

t.test('a notification passes the same checks alone and in a batch', async (t) => {
  const served = await servePlugins(t)
  const odd = fc.oneof(
    fc.constantFrom(null, '', 0, -1, 1e16, true, [], {}, 'a b', '/x', 'é'),
    fc.jsonValue({ maxDepth: 2 })
  )
  const value = (right: fc.Arbitrary<unknown>) =>
    fc.oneof({ weight: 25, arbitrary: right }, { weight: 1, arbitrary: odd })
  const name = fc.constantFrom('ann', 'auth0|7', 'bob')
  const item = fc.record(
    {
      to: value(
        fc.oneof(
          fc.record({ user: value(name) }),
          fc.record(
            { users: fc.array(value(name), { maxLength: 4 }), topic: fc.constant(null) },
            { requiredKeys: ['users'] }
          ),
          fc.record({ topic: value(fc.constantFrom('a', 'b', 'a*')) }),
          fc.record({ everyone: value(fc.constant(true)) })
        )
      ),
      type: value(fc.constantFrom('t', 'comment.new')),
      title: value(fc.string({ unit: 'binary' })),
      url: value(fc.constantFrom('/a', 'https://x/', '/b', '/c', '//x')),
      level: value(fc.constantFrom('info', 'error', 'success', 'fatal')),
      data: value(
        fc.dictionary(
          fc.constantFrom('a', 'b', 'c', 'd', 'e', '__proto__', 'b/c'),
          fc.jsonValue({ maxDepth: 3 })
        )
      ),
      key: value(fc.constant('k')),
      ttl: value(fc.constantFrom(null, null, 60, 3600, 0)),
      expiresAt: value(fc.constantFrom(null, null, '2999-01-01T00:00:00Z', '2001-01-01T00:00:00Z')),
      ephemeral: value(fc.boolean())
    },
    { requiredKeys: ['to', 'type'] }
  )
  const items = fc
    .sample(item, 250)
    .map((one, n) => (n % 20 === 0 ? { ...one, colour: 'red' } : one))
  const response = await produce(served, '/v1/notifications/batch', { notifications: items })
  const { results } = await json<{ results: Result[] }>(response)
  let accepted = 0
  for (const [n, one] of items.entries()) {
    const alone = await produce(served, '/v1/notifications', one)
    const inBatch = results[n]!
    t.equal(alone.status, inBatch.status, JSON.stringify(one))
    if (inBatch.status === 201) accepted++
    const pointers = inBatch.problem?.errors.map(({ pointer }) =>
      pointer.slice(`/notifications/${n}`.length)
    )
    t.strictSame(
      alone.status === 201 ? undefined : (await problemOf(alone)).pointers,
      pointers,
      JSON.stringify(one)
    )
  }
  // About 33 on average; at 20 a random sample failed once in a hundred runs.
  t.ok(accepted > 5 && accepted < 240, `${accepted} of 250 were accepted`)
})

t.test('a byte order mark before the body is ignored, alone and in a batch', async (t) => {
  const served = await servePlugins(t)
  t.equal((await produce(served, '/v1/notifications', `\ufeff${JSON.stringify(good)}`)).status, 201)
  const batch = await produce(
    served,
    '/v1/notifications/batch',
    `\ufeff${JSON.stringify({ notifications: [good] })}`
  )
  t.match(await json(batch), { results: [{ status: 201 }] })
  t.equal(
    (await produce(served, '/v1/tickets', `\ufeff${JSON.stringify({ user: 'ada', topics: null })}`))
      .status,
    201
  )
})

t.test(
  'the figures count every rejected publish, whatever the reason, alone and in a batch',
  async (t) => {
    const served = await servePlugins(t, { publishRate: 1000 })
    const routes = ['/v1/notifications', '/v1/notifications/batch']
    for (const route of routes) {
      await produce(served, route, '{')
      await produce(served, route, '')
      await produce(served, route, '{}')
      await produce(served, route, '{}', { 'content-type': 'text/plain' })
      // Its Content-Length alone is reason enough to reject it.
      const large = connect(Number(new URL(served.address).port), '127.0.0.1')
      large.write(
        `POST ${route} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key\r\ncontent-type: application/json\r\ncontent-length: ${33 * 1024 * 1024}\r\n\r\n`
      )
      t.match(String((await once(large, 'data'))[0]), /^HTTP\/1\.1 413 /)
      large.destroy()
      await produce(served, route, { notifications: [good] }, { authorization: 'Bearer wrong' })
      await produce(served, route, '{}', { 'content-encoding': 'gzip' })
    }
    await produce(served, routes[0]!, { ...good, data: { a: 'a'.repeat(20_000) } })
    await produce(served, routes[1]!, { notifications: Array.from({ length: 1001 }, () => good) })
    await produce(served, routes[0]!, good, { 'idempotency-key': 'one' })
    await produce(served, routes[0]!, { ...good, type: 'u' }, { 'idempotency-key': 'one' })
    await produce(served, routes[1]!, {
      notifications: [{ ...good, type: 'u', idempotencyKey: 'one' }, good, null]
    })
    t.strictSame(served.rejectedBy, {
      malformed: 4,
      validation: 4,
      'unsupported-media-type': 4,
      'payload-too-large': 3,
      unauthenticated: 2,
      'idempotency-key-reused': 2
    })
    t.strictSame(served.counted, { accepted: 2, replayed: 0, rejected: 19 })
  }
)

t.test('an invalid item never affects the other items of a batch', async (t) => {
  const served = await servePlugins(t)
  const items = [
    JSON.stringify({ ...good, title: 'first' }),
    JSON.stringify({ ...good, type: 'no good' }),
    'null',
    '{"to":{"user":"ada"},"type":"x","data":{"__proto__":{"admin":true}}}',
    '{"to":{"user":"ada"},"type":"x","__proto__":{"admin":true}}',
    `{"to":{"user":"ada"},"type":"x","data":${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}}`,
    `{"to":{"user":"ada"},"type":"x","more":${'['.repeat(50_000)}${']'.repeat(50_000)}}`,
    JSON.stringify({ ...good, data: { long: 'a'.repeat(16_384) } }),
    JSON.stringify({ ...good, idempotencyKey: 'a b' }),
    JSON.stringify({ ...good, to: { users: Array.from({ length: 1001 }, (_, i) => `u${i}`) } }),
    JSON.stringify({ ...good, expiresAt: '2001-01-01T00:00:00Z' }),
    JSON.stringify({ ...good, title: 'last' })
  ]
  const response = await produce(
    served,
    '/v1/notifications/batch',
    `{"notifications":[${items.join(',')}]}`
  )
  t.equal(response.status, 200)
  const { results } = await json<{ results: Result[] }>(response)
  t.strictSame(
    results.map(({ status }) => status),
    [201, ...Array.from({ length: 10 }, () => 422), 201]
  )
  t.ok(results.slice(1, -1).every(({ problem }) => problem?.type.endsWith('/validation')))
  t.equal(results[1]?.problem?.errors[0]?.pointer, '/notifications/1/type')
  t.equal(results[8]?.problem?.errors[0]?.pointer, '/notifications/8/idempotencyKey')
  t.equal(results[9]?.problem?.errors[0]?.pointer, '/notifications/9/to/users')
  const { items: inbox } = await json<{ items: { title: string }[] }>(
    await subscribe(served, 'ada', '/v1/inbox')
  )
  t.strictSame(
    inbox.map(({ title }) => title),
    ['last', 'first']
  )
  t.strictSame(served.counted, { accepted: 2, replayed: 0, rejected: 10 })
})

t.test(
  'a batch takes idempotency keys from its items, and from its header for the others',
  async (t) => {
    const served = await servePlugins(t)
    const batch = { notifications: [good, { ...good, idempotencyKey: 'mine' }] }
    const ids = async (): Promise<(string | undefined)[]> => {
      const response = await produce(served, '/v1/notifications/batch', batch, {
        'idempotency-key': 'batch'
      })
      return (await json<{ results: Result[] }>(response)).results.map(({ id }) => id)
    }
    const first = await ids()
    t.strictSame(await ids(), first)
    const single = await produce(served, '/v1/notifications', good, { 'idempotency-key': 'mine' })
    t.equal((await json(single))['id'], first[1])
    const reused = await produce(served, '/v1/notifications/batch', {
      notifications: [{ ...good, type: 'other', idempotencyKey: 'mine' }]
    })
    t.match((await json<{ results: Result[] }>(reused)).results[0], {
      status: 422,
      problem: { type: /idempotency-key-reused$/ }
    })
  }
)

t.test('a batch holds 1 to 1000 items', async (t) => {
  const served = await servePlugins(t)
  const sized = (length: number) =>
    produce(served, '/v1/notifications/batch', {
      notifications: Array.from({ length }, () => good)
    })
  t.strictSame((await problemOf(await sized(0))).pointers, ['/notifications'])
  t.strictSame((await problemOf(await sized(1001))).pointers, ['/notifications'])
  t.equal((await json<{ results: Result[] }>(await sized(1000))).results.length, 1000)
  t.strictSame(
    (
      await problemOf(await produce(served, '/v1/notifications/batch', { notifications: {}, x: 1 }))
    ).pointers.sort(),
    ['/notifications', '/x']
  )
})

t.test(
  'a publish without a key gets 401 before its body is read, and the response says what to send',
  async (t) => {
    const served = await servePlugins(t)
    const response = await produce(served, '/v1/notifications', '{broken', {
      authorization: 'Bearer wrong'
    })
    t.equal(response.headers.get('www-authenticate'), 'Bearer')
    t.match(await problemOf(response), { status: 401, slug: 'unauthenticated' })
  }
)

t.test(
  'a publish key has a limit of requests a second, and a batch counts as one request',
  async (t) => {
    const served = await servePlugins(t, { publishRate: 3 })
    const batch = { notifications: [good, good, good, good, good] }
    const statuses = [
      (await produce(served, '/v1/notifications', good)).status,
      (await produce(served, '/v1/notifications/batch', batch)).status,
      (await produce(served, '/v1/notifications', good)).status
    ]
    t.strictSame(statuses, [201, 200, 201])
    // The next is refused, unless a busy machine took a second for these: then a later one is.
    let refused = await produce(served, '/v1/notifications/batch', batch)
    for (let n = 0; n < 50 && refused.ok; n++)
      refused = await produce(served, '/v1/notifications/batch', batch)
    t.equal(refused.headers.get('retry-after'), '1')
    t.match(await problemOf(refused), { status: 429, slug: 'rate-limited' })
  }
)

t.test('a producer can issue a ticket, end the streams of a user, and erase a user', async (t) => {
  const served = await servePlugins(t)
  const ticket = await produce(served, '/v1/tickets', { user: 'ada', topics: ['news', 'team:*'] })
  t.equal(ticket.status, 201)
  t.strictSame(await json(ticket), {
    ticket: 'ada:news,team:*',
    expiresAt: '1970-01-01T00:00:00.000Z'
  })
  t.strictSame(
    (
      await problemOf(await produce(served, '/v1/tickets', { user: 'a b', topics: ['*x'], ttl: 1 }))
    ).pointers.sort(),
    ['/topics/0', '/ttl', '/user']
  )
  const long = encodeURIComponent('/'.repeat(128))
  const closed = await produce(
    served,
    `/v1/users/${long}/connections`,
    undefined,
    { 'content-type': 'application/json' },
    'DELETE'
  )
  t.strictSame([closed.status, await json(closed)], [200, { closed: 2 }])
  t.strictSame(
    (await problemOf(await produce(served, '/v1/users/a%20b/connections', undefined, {}, 'DELETE')))
      .pointers,
    ['user']
  )
  await produce(served, '/v1/notifications', good)
  t.equal((await produce(served, '/v1/users/ada', undefined, {}, 'DELETE')).status, 204)
  t.strictSame(await json(await subscribe(served, 'ada', '/v1/inbox/counts')), {
    unread: 0,
    unseen: 0
  })
})

t.test('ids only grow, even within a millisecond and after the clock was set back', async (t) => {
  const ids = Array.from({ length: 10_000 }, (_, i) => createNotificationId(1_800_000_000_000 - i))
  t.strictSame([...ids].sort(), ids)
  t.equal(new Set(ids).size, ids.length)
})
