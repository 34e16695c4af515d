import type http from 'node:http'
import { test } from 'tap'
import { type FakeStore, identityWith, serve, whoIs } from './parties.ts'

type Teardown = { teardown(fn: () => unknown): void }
type Answer = (request: http.IncomingMessage, response: http.ServerResponse) => void

const json =
  (value: unknown, status = 200): Answer =>
  (_request, response) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))

/** An application with sessions; a test may replace `answer`. */
async function application(t: Teardown, answer: Answer) {
  const state = { answer, requests: [] as http.IncomingMessage[] }
  const { url, close } = await serve(t, (request, response) => {
    state.requests.push(request)
    state.answer(request, response)
  })
  return Object.assign(state, {
    close,
    origin: new URL(url).origin,
    ...identityWith({ sessionUrl: `${url}me` })
  })
}

const COOKIE = { cookie: 'sid=opaque; other=1' }

test('the application receives the Cookie and Authorization of the caller and returns the user', async (t) => {
  const expiresAt = new Date(Date.now() + 60_000).toISOString()
  const app = await application(
    t,
    json({ user: 'u1', topics: ['a', 'b*'], expiresAt, theme: 'dark' })
  )
  const { subscriber, via } = await app.identity.authenticate({
    ...COOKIE,
    authorization: 'Bearer opaque'
  })
  t.strictSame(whoIs(subscriber), {
    user: 'u1',
    topics: ['a', 'b*'],
    expiresAt: Date.parse(expiresAt)
  })
  t.equal(via, 'session')
  const [request] = app.requests
  t.equal(request?.method, 'GET')
  t.equal(request?.headers.cookie, COOKIE.cookie)
  t.equal(request?.headers.authorization, 'Bearer opaque')
  app.answer = json({ user: 'u2' })
  t.strictSame(
    whoIs((await app.identity.authenticate({ authorization: 'Bearer other' })).subscriber),
    { user: 'u2', topics: [] }
  )
  t.notOk(app.requests[1]?.headers.cookie)
})

test('each answer of the application is a user, a rejection, a malformed name or an outage', async (t) => {
  const app = await application(t, json({}))
  const later = new Date(Date.now() + 60_000).toISOString()
  const past = new Date(Date.now() - 1).toISOString()
  const redirect: Answer = (_q, response) => response.writeHead(302, { location: '/login' }).end()
  const cases: [Answer, string, trouble?: RegExp][] = [
    [json({ user: 'u' }, 401), 'unauthenticated'],
    [json({ user: 'u' }, 403), 'unauthenticated'],
    // Frameworks redirect callers who are not signed in.
    [redirect, 'unauthenticated'],
    [json(null), 'unauthenticated'],
    [json({}), 'unauthenticated'],
    [json([]), 'unauthenticated'],
    [json({ user: null, topics: ['a'] }), 'unauthenticated'],
    [json({ user: 'u', expiresAt: past }), 'unauthenticated'],
    [json({ user: 'u', topics: null, expiresAt: null }), 'u by session'],
    [json({ user: 0 }), '0 by session'],
    [json({ user: 2 ** 53 - 1 }), '9007199254740991 by session'],
    [json({ user: { name: 'Ann', id: 42 }, expires: later }), '42 by session'],
    [json({ user: { id: 'ann' }, session: { token: 'x', expiresAt: later } }), 'ann by session'],
    [json({ user: 'u', session: 'a name of its own', expires: 3600 }), 'u by session'],
    [json({ user: { id: 'ann' }, expires: past }), 'unauthenticated'],
    [json({ user: 'ann', session: { expiresAt: past }, expires: later }), 'unauthenticated'],
    [json({ user: 'hush hush' }), 'forbidden', /user must be 1–128 characters/],
    [json({ user: '' }), 'forbidden', /user must be/],
    [json({ user: 1.5 }), 'forbidden', /user must be/],
    [json({ user: -1 }), 'forbidden', /user must be/],
    [json({ user: { name: 'hush' } }), 'forbidden', /user must be/],
    [
      json({ user: 'u', topics: ['a', 'hush hush'] }),
      'forbidden',
      /topics\.1 must be a topic name/
    ],
    [json({ user: 'u' }, 500), 'unavailable', /answered 500/],
    [json({ user: 'u' }, 404), 'unavailable', /answered 404/],
    [json({ user: 'u' }, 201), 'unavailable', /answered 201/],
    [
      (_q, response) => response.setHeader('content-type', 'text/html').end('<html>hush'),
      'unavailable',
      /than JSON \(text\/html\)/
    ],
    [(_q, response) => response.writeHead(200).end(), 'unavailable', /than JSON/],
    [json('hush'), 'unavailable', /the answer: Invalid input/],
    [json({ user: 'u', topics: 'hush' }), 'unavailable', /topics: Invalid input: expected array/],
    [json({ user: 'u', expiresAt: 'soon' }), 'unavailable', /expiresAt: Invalid ISO datetime/],
    [json({ user: 'u', filler: 'x'.repeat(70_000) }), 'unavailable', /larger than 65536 bytes/],
    [(request) => request.destroy(), 'unavailable', /socket hang up/]
  ]
  for (const [index, [answer, expected, trouble]] of cases.entries()) {
    app.answer = answer
    app.troubles.length = 0
    t.equal(await app.ask({ cookie: `sid=${index}` }), expected, `case ${index}`)
    t.equal(
      app.troubles.length,
      trouble ? 1 : 0,
      `case ${index} is trouble: ${trouble !== undefined}`
    )
    if (!trouble) continue
    t.match(app.troubles[0], trouble)
    t.ok(
      app.troubles[0]!.startsWith(`AUTH_SESSION_URL (${app.origin}): `),
      'the log line names the setting and the origin'
    )
    t.notMatch(app.troubles[0], 'hush', 'the log line quotes no value of the answer')
  }
  t.equal(app.requests.length, cases.length, 'a redirect is not followed')
})

test('a rejection is cached for two seconds, an outage is not', async (t) => {
  const app = await application(t, json({}, 401))
  const began = performance.now()
  t.equal(await app.ask(COOKIE), 'unauthenticated')
  app.answer = json({ user: 'u' })
  let asked = 1
  let last = performance.now()
  while ((await app.ask(COOKIE)) !== 'u by session') {
    asked++
    last = performance.now()
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  t.ok(asked > 1 && performance.now() - began >= 1_999, 'the rejection came from the cache')
  t.ok(last - began < 10_000)
  t.equal(app.requests.length, 2)
  for (let n = 0; n < 3; n++) {
    app.answer = json({}, 503)
    t.equal(await app.ask({ cookie: 'sid=else' }), 'unavailable')
  }
  t.equal(app.requests.length, 5)
})

test('at most 64 look-ups run at once, and those that wait too long are unavailable', async (t) => {
  let [open, most] = [0, 0]
  const held: http.ServerResponse[] = []
  const app = await application(t, (_request, response) => {
    most = Math.max(most, ++open)
    held.push(response)
    response.once('close', () => open--)
  })
  const asked = Array.from({ length: 500 }, (_, n) => app.ask({ cookie: `sid=${n}` }))
  while (held.length < 64) await new Promise((resolve) => setTimeout(resolve, 5))
  for (const response of held.splice(0)) response.end('{"user":"u"}')
  const answers = await Promise.all(asked)
  t.equal(most, 64)
  t.equal(answers.filter((answer) => answer === 'u by session').length, 64)
  t.equal(answers.filter((answer) => answer === 'unavailable').length, 436)
  t.match(
    app.troubles.at(-1),
    /no answer within 2000 ms: 64 earlier requests are still in progress/
  )
})

test('a look-up on a connection that the application just closed is retried', async (t) => {
  // The application closes the connection at every second request, as if its keep-alive time were
  // over.
  const served = new WeakSet<object>()
  const app = await application(t, (request, response) => {
    if (served.has(request.socket)) return request.socket.destroy()
    served.add(request.socket)
    json({ user: 'u' })(request, response)
  })
  for (let n = 0; n < 6; n++) t.equal(await app.ask({ cookie: `sid=${n}` }), 'u by session')
})

test('an application that is silent, slow or down makes sessions unavailable after two seconds', async (t) => {
  const silent = await application(t, () => {})
  const dripping = await application(t, (_request, response) => {
    response.writeHead(200).write('{"user":')
  })
  const started = performance.now()
  t.strictSame(await Promise.all([silent.ask(COOKIE), dripping.ask(COOKIE)]), [
    'unavailable',
    'unavailable'
  ])
  const took = performance.now() - started
  t.ok(took > 1_900 && took < 10_000, `after ${took} ms`)
  await silent.close()
  t.equal(await silent.ask(COOKIE), 'unavailable')
})

test('callers with the same session share one look-up and its cached result', async (t) => {
  const waiting: http.ServerResponse[] = []
  const app = await application(t, (request, response) => {
    if (request.headers.cookie === COOKIE.cookie) waiting.push(response)
    else json({ user: 'other' })(request, response)
  })
  const asked = Promise.all(Array.from({ length: 50 }, () => app.ask(COOKIE)))
  t.equal(
    await app.ask({ cookie: 'sid=else' }),
    'other by session',
    'another session is looked up separately'
  )
  while (waiting.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  waiting[0]!.end('{"user":"u"}')
  t.strictSame(new Set(await asked), new Set(['u by session']))
  t.equal(await app.ask(COOKIE), 'u by session')
  t.equal(app.requests.length, 2)
  t.equal(
    await app.ask({ cookie: COOKIE.cookie.slice(0, -1), authorization: '1' }),
    'other by session',
    'the cookie and the token are separate parts of the cache key'
  )
})

test('a cached session is looked up again when it expires', async (t) => {
  const ends = Date.now() + 1500
  const app = await application(t, json({ user: 'u', expiresAt: new Date(ends).toISOString() }))
  t.equal(await app.ask(COOKIE), 'u by session')
  app.answer = json({ user: 'u', expiresAt: new Date(ends + 60_000).toISOString() })
  while (Date.now() <= ends) await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(await app.ask(COOKIE), 'u by session', 'a session that was extended stays valid')
  t.equal(app.requests.length, 2)
  app.answer = json({}, 401)
})

const revoke = (store: FakeStore, at = Date.now()): unknown => store.revoked.set('u', at)

test('after a revocation the session is looked up again', async (t) => {
  const app = await application(t, json({ user: 'u' }))
  t.equal(await app.ask(COOKIE), 'u by session')
  revoke(app.store)
  app.answer = json({}, 401)
  t.equal(await app.ask(COOKIE), 'unauthenticated')
  app.answer = json({ user: 'u' })
  t.equal(
    await app.ask({ cookie: 'sid=new' }),
    'u by session',
    'a new session of the user is accepted'
  )
  t.equal(app.requests.length, 3)
})

test('a look-up that a revocation overtakes is repeated', async (t) => {
  const app = await application(t, (_request, response) => {
    app.answer = json({}, 401)
    setTimeout(() => {
      revoke(app.store)
      response.end('{"user":"u"}')
    }, 20)
  })
  t.equal(await app.ask(COOKIE), 'unauthenticated')
  t.equal(app.requests.length, 2)
})

test('a revocation by a node whose clock is ahead does not lock the user out', async (t) => {
  const app = await application(t, json({ user: 'u' }))
  revoke(app.store, Date.now() + 60_000)
  t.equal(await app.ask(COOKIE), 'u by session')
  t.equal(app.requests.length, 2, 'the session was looked up again after the revocation was read')
})
