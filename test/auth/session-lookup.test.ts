import type http from 'node:http'
import { test } from 'tap'
import { type FakeStore, identityWith, serve, whoIs } from './parties.ts'

type Teardown = { teardown(fn: () => unknown): void }
type Answer = (request: http.IncomingMessage, response: http.ServerResponse) => void

const json =
  (value: unknown, status = 200): Answer =>
  (_request, response) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))

/** An application with sessions; `answer` may be changed on the way. */
async function application(t: Teardown, answer: Answer) {
  const state = { answer, requests: [] as http.IncomingMessage[] }
  const { url, close } = await serve(t, (request, response) => {
    state.requests.push(request)
    state.answer(request, response)
  })
  return Object.assign(state, { close, ...identityWith({ sessionUrl: `${url}me` }) })
}

const COOKIE = { cookie: 'sid=opaque; other=1' }

test('the application tells who it is, from the Cookie and Authorization of the caller and nothing else', async (t) => {
  const expiresAt = new Date(Date.now() + 60_000).toISOString()
  const app = await application(t, json({ user: 'u1', topics: ['a', 'b*'], expiresAt, theme: 'dark' }))
  const { subscriber, via } = await app.identity.authenticate({ ...COOKIE, authorization: 'Bearer opaque' })
  t.strictSame(whoIs(subscriber), { user: 'u1', topics: ['a', 'b*'], expiresAt: Date.parse(expiresAt) })
  t.equal(via, 'session')
  const [request] = app.requests
  t.equal(request?.method, 'GET')
  t.equal(request?.headers.cookie, COOKIE.cookie)
  t.equal(request?.headers.authorization, 'Bearer opaque')
  app.answer = json({ user: 'u2' })
  t.strictSame(whoIs((await app.identity.authenticate({ authorization: 'Bearer other' })).subscriber), { user: 'u2', topics: [] })
  t.notOk(app.requests[1]?.headers.cookie)
})

test('no is no; everything but yes and no is trouble', async (t) => {
  const app = await application(t, json({}))
  const cases: [Answer, string][] = [
    [json({ user: 'u' }, 401), 'unauthenticated'],
    [json({ user: 'u' }, 403), 'unauthenticated'],
    [json({ user: 'u' }, 500), 'unavailable'],
    [json({ user: 'u' }, 404), 'unavailable'],
    [json({ user: 'u' }, 201), 'unavailable'],
    [(_q, response) => response.writeHead(302, { location: '/login' }).end(), 'unavailable'],
    [(_q, response) => response.writeHead(200).end('<html>'), 'unavailable'],
    [(_q, response) => response.writeHead(200).end(), 'unavailable'],
    [json({ user: 'a b' }), 'unavailable'],
    [json({ user: 'u', topics: 'a' }), 'unavailable'],
    [json({ user: 'u', expiresAt: 'soon' }), 'unavailable'],
    [json({ user: 'u', filler: 'x'.repeat(70_000) }), 'unavailable'],
    [(request) => request.destroy(), 'unavailable'],
    [json({ user: 'u', expiresAt: new Date(Date.now() - 1).toISOString() }), 'unauthenticated'],
    [json({ user: 'u', topics: null, expiresAt: null }), 'u by session']
  ]
  for (const [index, [answer, expected]] of cases.entries()) {
    app.answer = answer
    t.equal(await app.ask(COOKIE), expected, `case ${index}`)
  }
  t.equal(app.requests.length, cases.length, 'no and trouble are not remembered, nor is a redirect followed')
})

test('an application that is slow, endless or gone is trouble after two seconds', async (t) => {
  const silent = await application(t, () => {})
  const dripping = await application(t, (_request, response) => {
    response.writeHead(200).write('{"user":')
  })
  const started = performance.now()
  t.strictSame(await Promise.all([silent.ask(COOKIE), dripping.ask(COOKIE)]), ['unavailable', 'unavailable'])
  const took = performance.now() - started
  t.ok(took > 1_900 && took < 10_000, `after ${took} ms`)
  await silent.close()
  t.equal(await silent.ask(COOKIE), 'unavailable')
})

test('callers with one session share one question, and its answer for a while', async (t) => {
  const waiting: http.ServerResponse[] = []
  const app = await application(t, (request, response) => {
    if (request.headers.cookie === COOKIE.cookie) waiting.push(response)
    else json({ user: 'other' })(request, response)
  })
  const asked = Promise.all(Array.from({ length: 50 }, () => app.ask(COOKIE)))
  t.equal(await app.ask({ cookie: 'sid=else' }), 'other by session', 'another session is another question')
  while (waiting.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  waiting[0]!.end('{"user":"u"}')
  t.strictSame(new Set(await asked), new Set(['u by session']))
  t.equal(await app.ask(COOKIE), 'u by session')
  t.equal(app.requests.length, 2)
  t.equal(
    await app.ask({ cookie: COOKIE.cookie.slice(0, -1), authorization: '1' }),
    'other by session',
    'parts of a key do not run together'
  )
})

test('an answer is not believed beyond its end', async (t) => {
  const ends = Date.now() + 1500
  const app = await application(t, json({ user: 'u', expiresAt: new Date(ends).toISOString() }))
  t.equal(await app.ask(COOKIE), 'u by session')
  app.answer = json({ user: 'u', expiresAt: new Date(ends + 60_000).toISOString() })
  while (Date.now() <= ends) await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(await app.ask(COOKIE), 'u by session', 'a session that was prolonged goes on')
  t.equal(app.requests.length, 2)
  app.answer = json({}, 401)
})

const revoke = (store: FakeStore, at = Date.now()): unknown => store.revoked.set('u', at)

test('after a revocation the application is asked again', async (t) => {
  const app = await application(t, json({ user: 'u' }))
  t.equal(await app.ask(COOKIE), 'u by session')
  revoke(app.store)
  app.answer = json({}, 401)
  t.equal(await app.ask(COOKIE), 'unauthenticated')
  app.answer = json({ user: 'u' })
  t.equal(await app.ask(COOKIE), 'u by session', 'who logged in again is let in')
  t.equal(app.requests.length, 3)
})

test('an answer that was on its way during the revocation is not accepted', async (t) => {
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
  t.equal(app.requests.length, 2, 'asked once more, after the revocation was known')
})
