import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { StoreError } from '../../src/log/store.ts'
import {
  problemOf,
  produce,
  type Served,
  servePlugins,
  subscribe
} from '../fixtures/serve-plugins.ts'

const good = { to: { user: 'ada' }, type: 'greeting' }

/** Sends these bytes on a new connection and returns everything that comes back. */
async function raw({ app }: Served, bytes: string): Promise<string> {
  const socket = connect((app.server.address() as { port: number }).port, '127.0.0.1')
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.write(bytes)
  await once(socket, 'close')
  return Buffer.concat(chunks).toString()
}

t.test('a body that is not valid JSON in UTF-8 is 400', async (t) => {
  const served = await servePlugins(t)
  const bodies: [string, string | Uint8Array][] = [
    ['broken JSON', '{"to":'],
    ['nothing', ''],
    [
      'invalid UTF-8',
      Buffer.concat([
        Buffer.from('{"to":{"user":"a"},"type":"x","title":"'),
        Buffer.from([0xc3, 0x28]),
        Buffer.from('"}')
      ])
    ],
    [
      'a surrogate in UTF-8',
      Buffer.concat([Buffer.from('{"title":"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"}')])
    ],
    ['two byte order marks', Buffer.from('\ufeff\ufeff{"to":{"user":"a"},"type":"x"}')]
  ]
  for (const [name, body] of bodies) {
    const response = await produce(served, '/v1/notifications', body)
    t.equal(response.headers.get('content-type'), 'application/problem+json; charset=utf-8')
    t.match(await problemOf(response), { status: 400, slug: 'malformed' }, name)
  }
  const bodiless = await fetch(`${served.address}/v1/notifications`, {
    method: 'POST',
    headers: { authorization: 'Bearer key' }
  })
  t.match(await problemOf(bodiless), { status: 400, slug: 'malformed' }, 'no body, no type')
  const batch = await produce(served, '/v1/notifications/batch', '{"notifications":[')
  t.match(await problemOf(batch), { status: 400, slug: 'malformed' }, 'a broken batch')
})

t.test('a __proto__ field is rejected and changes no prototype', async (t) => {
  const served = await servePlugins(t)
  const bodies: [string, string][] = [
    ['{"to":{"user":"a"},"type":"x","__proto__":{"admin":true}}', '/__proto__'],
    ['{"to":{"user":"a"},"type":"x","\\u005f_proto__":{"admin":true}}', '/__proto__'],
    ['{"to":{"user":"a","__proto__":{"admin":true}},"type":"x"}', '/to/__proto__'],
    ['{"to":{"user":"a"},"type":"x","data":{"__proto__":{"admin":true}}}', '/data/__proto__'],
    ['{"to":{"user":"a"},"type":"x","data":{"a":[{"__proto__":null}]}}', '/data/a/0/__proto__']
  ]
  for (const [body, pointer] of bodies) {
    const response = await produce(served, '/v1/notifications', body)
    t.match(
      await problemOf(response),
      { status: 422, slug: 'validation', pointers: [pointer] },
      body
    )
  }
  t.equal((Object.prototype as { admin?: boolean }).admin, undefined)
})

t.test('deeply nested JSON is rejected without a stack overflow', async (t) => {
  const served = await servePlugins(t)
  const response = await produce(
    served,
    '/v1/notifications',
    `{"to":${'['.repeat(7000)}${']'.repeat(7000)},"type":"x"}`
  )
  t.match(await problemOf(response), { status: 422, pointers: ['/to'] })
  const data = await produce(
    served,
    '/v1/notifications',
    `{"to":{"user":"a"},"type":"x","data":{"a":${'['.repeat(7000)}${']'.repeat(7000)}}}`
  )
  t.match(await problemOf(data), { status: 422, pointers: ['/data'] })
  t.strictSame(served.errors, [])
})

t.test('more than 16 KiB is 413', async (t) => {
  const served = await servePlugins(t)
  const { to: _, ...rest } = good
  const around = JSON.stringify({ ...rest, data: { a: '' } }).length
  /** A notification of this many bytes, not counting its recipients. */
  const sized = (bytes: number): string =>
    JSON.stringify({ ...good, data: { a: 'a'.repeat(bytes - around) } })
  t.equal((await produce(served, '/v1/notifications', sized(16_384))).status, 201)
  t.match(await problemOf(await produce(served, '/v1/notifications', sized(16_385))), {
    status: 413,
    slug: 'payload-too-large'
  })
  const chunked = await fetch(`${served.address}/v1/notifications`, {
    method: 'POST',
    headers: { authorization: 'Bearer key', 'content-type': 'application/json' },
    body: new Blob([sized(20_000)]).stream(),
    duplex: 'half'
  } as RequestInit)
  t.equal(chunked.status, 413)
})

t.test('bodies other than JSON are 415', async (t) => {
  const served = await servePlugins(t)
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/jsonp',
    'application/vnd.api+json',
    'nonsense'
  ]) {
    const response = await produce(served, '/v1/notifications', JSON.stringify(good), {
      'content-type': type
    })
    t.match(await problemOf(response), { status: 415, slug: 'unsupported-media-type' }, type)
  }
  const encoded = await produce(served, '/v1/notifications', good, { 'content-encoding': 'gzip' })
  t.match(
    await problemOf(encoded),
    { status: 415, slug: 'unsupported-media-type' },
    'compressed bodies are not supported'
  )
  const typed = await produce(served, '/v1/notifications', good, {
    'content-type': 'Application/JSON; charset=utf-8'
  })
  t.equal(typed.status, 201)
})

t.test(
  'an unknown path is 404, a wrong method 405 with Allow, with and without a base path',
  async (t) => {
    for (const basePath of ['', '/bell']) {
      const served = await servePlugins(t, { basePath })
      t.match(await problemOf(await fetch(`${served.address}/v1/nothing`)), {
        status: 404,
        slug: 'not-found'
      })
      t.match(await problemOf(await fetch(`${served.address}/v1/notifications/a/b`)), {
        status: 404,
        slug: 'not-found'
      })
      for (const [method, path, allow] of [
        ['PUT', '/v1/notifications', 'POST'],
        ['POST', '/v1/notifications/some-id?x=1', 'DELETE, GET, HEAD'],
        ['DELETE', '/v1/inbox', 'GET, HEAD'],
        ['GET', '/v1/users/ada', 'DELETE']
      ] as const) {
        const response = await fetch(`${served.address}${path}`, { method })
        t.equal(response.headers.get('allow'), allow)
        t.match(await problemOf(response), { status: 405, slug: 'method-not-allowed' })
      }
    }
  }
)

t.test('an address that is too long or wrongly encoded is 400', async (t) => {
  const served = await servePlugins(t)
  const unreadable = await fetch(`${served.address}/v1/notifications/%ff`)
  t.match(unreadable.headers.get('x-request-id'), /./, 'it has the common headers')
  t.equal(unreadable.headers.get('x-content-type-options'), 'nosniff')
  t.match(await problemOf(unreadable), { status: 400, slug: 'malformed' })
  t.match(
    await problemOf(
      await fetch(`${served.address}/v1/users/${'a'.repeat(300)}`, { method: 'DELETE' })
    ),
    { status: 400 }
  )
})

t.test(
  'bytes that are not an HTTP request get a problem document, and the connection closes',
  async (t) => {
    const served = await servePlugins(t)
    const answer = await raw(served, 'NONSENSE\r\n\r\n')
    t.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/)
    t.match(answer, /application\/problem\+json/)
    t.match(answer, /problems\/malformed/)
    t.match(
      await raw(served, `GET / HTTP/1.1\r\nHost: x\r\nX-Long: ${'a'.repeat(70_000)}\r\n\r\n`),
      /^HTTP\/1\.1 431 /
    )
  }
)

t.test('garbage on the connection of a stream does not add an error to the stream', async (t) => {
  const served = await servePlugins(t, {
    before: (app) => {
      app.get('/endless', (_request, reply) => {
        reply.hijack()
        reply.raw.writeHead(200).write('begun')
      })
    }
  })
  const answer = await raw(served, 'GET /endless HTTP/1.1\r\nHost: x\r\n\r\nNONSENSE\r\n\r\n')
  t.notMatch(answer, /400/)
})

t.test(
  'store errors are 503 or 507, others 500, and the response reveals no internal message',
  async (t) => {
    const served = await servePlugins(t)
    const fail = (error: Error): void => {
      served.store.publish = () => Promise.reject(error)
    }
    fail(new StoreError('unavailable', 'secret path'))
    const away = await produce(served, '/v1/notifications', good)
    t.equal(away.headers.get('retry-after'), '5')
    t.match(await problemOf(away), { status: 503, slug: 'unavailable' })
    fail(new StoreError('full', 'secret path'))
    t.match(await problemOf(await produce(served, '/v1/notifications', good)), {
      status: 507,
      slug: 'store-full'
    })
    fail(new Error('secret path'))
    const { status, slug, problem } = await problemOf(
      await produce(served, '/v1/notifications', good)
    )
    t.strictSame([status, slug], [500, 'internal'])
    t.notMatch(JSON.stringify(problem), /secret/)
    t.ok(problem.requestId)
    t.strictSame(served.errors, ['unavailable', 'store-full', 'internal'])
    served.store.inbox = () => Promise.reject(Object.assign(new Error('x'), { statusCode: 200 }))
    t.equal((await subscribe(served, 'ada', '/v1/inbox')).status, 500)
  }
)

t.test('the 404 for a misspelled path suggests the right one', async (t) => {
  const served = await servePlugins(t)
  const slip = await problemOf(await produce(served, '/v1/notification', good))
  t.match(slip, {
    status: 404,
    slug: 'not-found',
    problem: { detail: /Did you mean \/v1\/notifications\?.*\/documentation/ }
  })
  for (const path of ['/wp-login.php', `/${'x'.repeat(5000)}`]) {
    const { problem } = await problemOf(await fetch(`${served.address}${path}`))
    t.equal(problem.detail, 'Nothing exists at this address. All addresses: /documentation.')
  }
})
