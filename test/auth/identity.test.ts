import { test } from 'tap'
import { AuthError } from '../../src/auth/auth-error.ts'
import { createIdentity } from '../../src/auth/identity.ts'
import { issueTicket } from '../../src/auth/ticket.ts'
import type { OutsideError } from '../../src/bounds/outside-request.ts'
import { StoreError } from '../../src/log/store.ts'
import { SignIns } from '../../src/monitoring/sign-ins.ts'
import {
  bearer,
  FakeStore,
  identityWith,
  jwt,
  nowSeconds,
  parseCookie,
  RULES,
  SECRET,
  serve,
  signedCookie,
  whoIs
} from './parties.ts'

const KEY = 'cookie-secret'
const session = (value: string) => ({ cookie: `a=1; session=${value}; b=2` })

test('a ticket admits one connection, and reading it does not use it up', async (t) => {
  const { store, identity, ask } = identityWith()
  const issuedAt = Date.now()
  const { ticket, expiresAt } = await issueTicket(store, 'u', ['a', 'b*'])
  t.match(ticket, /^[A-Za-z0-9_-]{43}$/)
  t.ok(expiresAt >= issuedAt + 30_000 && expiresAt <= Date.now() + 30_000)
  t.notOk([...store.tickets.keys()].join().includes(ticket), 'the store never receives the ticket')
  t.equal(await ask({ ticket }), 'u by ticket', 'reading it leaves it valid')
  const [one, other] = await Promise.all([
    identity.authenticate({ ticket }),
    identity.authenticate({ ticket })
  ])
  t.strictSame(whoIs(one.subscriber), { user: 'u', topics: ['a', 'b*'] })
  const entered = await Promise.allSettled([one.redeem(), other.redeem()])
  t.strictSame(
    entered.map(({ status }) => status).sort(),
    ['fulfilled', 'rejected'],
    'of two concurrent requests one redeems the ticket'
  )
  t.equal(await ask({ ticket }), 'unauthenticated')
  for (const junk of ['', 'x', 'x'.repeat(5000), '\n', `${ticket}=`])
    t.equal(await ask({ ticket: junk }), 'unauthenticated')
})

test('a ticket is unavailable, not rejected, while the store is down', async (t) => {
  const { ask } = identityWith({
    store: {
      takeTicket: () => Promise.reject(new StoreError('unavailable', 'away')),
      revokedAt: async () => 0
    }
  })
  t.equal(await ask({ ticket: 'x'.repeat(43) }), 'unavailable')
})

test('the first credential that is present decides, whether it is valid or not', async (t) => {
  const application = await serve(t, (_request, response) => response.end('{"user":"app-user"}'))
  const { store, identity, ask } = identityWith({
    jwtSecrets: [SECRET],
    cookieSecrets: [KEY],
    sessionUrl: application.url
  })
  const { ticket } = await issueTicket(store, 'ticket-user', [])
  const good = { ...bearer(jwt({ sub: 'bearer-user' })), ...session(jwt({ sub: 'cookie-user' })) }
  t.equal(await ask({ ...good, ticket }), 'ticket-user by ticket')
  await (await identity.authenticate({ ticket })).redeem()
  t.equal(
    await ask({ ...good, ticket }),
    'unauthenticated',
    'a used ticket is rejected even if other credentials are valid'
  )
  t.equal(await ask(good), 'bearer-user by bearer')
  t.equal(await ask({ ...good, ...bearer(jwt({ sub: 'x', exp: 1 })) }), 'unauthenticated')
  t.equal(await ask(session(jwt({ sub: 'cookie-user' }))), 'cookie-user by cookie')
  t.equal(await ask(session(jwt({ sub: 'cookie-user', exp: 1 }))), 'unauthenticated')
  t.equal(await ask(session(signedCookie('signed-user', KEY))), 'signed-user by cookie')
  t.equal(await ask(session(signedCookie('signed-user', 'x'))), 'unauthenticated')
  t.equal(
    await ask(session('opaque')),
    'app-user by session',
    'an opaque cookie is a session id of the application'
  )
  t.equal(await ask({ cookie: 'other=1' }), 'app-user by session')
  t.equal(await ask({ authorization: 'Basic YTpi' }), 'app-user by session')
  t.equal(await ask(bearer('opaque')), 'app-user by session')
  t.equal(await ask({ cookie: '', authorization: '' }), 'unauthenticated')
})

test('a credential whose auth method is not configured is ignored', async (t) => {
  const application = await serve(t, (_request, response) => response.end('{"user":"app-user"}'))
  const token = jwt({ sub: 'u' })
  t.equal(
    await identityWith({ sessionUrl: application.url }).ask(bearer(token)),
    'app-user by session'
  )
  const signedOnly = identityWith({ cookieSecrets: [KEY] })
  t.equal(
    await signedOnly.ask({ ...bearer(token), ...session(signedCookie('u', KEY)) }),
    'u by cookie'
  )
  t.equal(await signedOnly.ask(bearer(token)), 'unauthenticated')
  t.equal(await signedOnly.ask(session(token)), 'unauthenticated')
  const jwtOnly = identityWith({ jwtSecrets: [SECRET] })
  t.equal(await jwtOnly.ask(session(signedCookie('u', KEY))), 'unauthenticated')
  t.equal(await jwtOnly.ask(session('opaque')), 'unauthenticated')
  t.equal(await jwtOnly.ask({ authorization: 'Basic YTpi', ...session(token) }), 'u by cookie')
  t.equal(await jwtOnly.ask({ authorization: `bEARER   ${token}` }), 'u by bearer')
})

test('a cookie is accepted if @fastify/cookie signed a user name with one of the secrets', async (t) => {
  const { ask } = identityWith({ cookieSecrets: ['new', 'old'], cookie: 'sid' })
  const sid = (value: string) => ({ cookie: `sid=${value}` })
  t.equal(await ask(sid(signedCookie('u@example.com', 'new'))), 'u@example.com by cookie')
  t.equal(await ask(sid(signedCookie('u', 'old'))), 'u by cookie')
  t.equal(await ask(sid(signedCookie('u', 'older'))), 'unauthenticated')
  t.equal(await ask(sid(signedCookie('a b', 'new'))), 'unauthenticated')
  t.equal(await ask(sid(signedCookie('', 'new'))), 'unauthenticated')
  t.equal(await ask(sid('%E0%A4%A')), 'unauthenticated')
  t.equal(
    await ask({ cookie: `session=${signedCookie('u', 'new')}` }),
    'unauthenticated',
    'a cookie of another name is ignored'
  )
})

test('a signed user name with dots is not mistaken for a JWT', async (t) => {
  const { ask } = identityWith({ jwtSecrets: [SECRET], cookieSecrets: [KEY] })
  for (let i = 0; i < 40; i++)
    t.equal(await ask(session(signedCookie(`first.${i}`, KEY))), `first.${i} by cookie`)
})

test('the 401 for a request without a credential lists the configured auth methods', async (t) => {
  const detail = async (options: Parameters<typeof identityWith>[0]) =>
    identityWith(options)
      .identity.authenticate({})
      .catch((error: AuthError) => error.message)
  t.match(await detail({ jwtSecrets: [SECRET], cookie: 'sid' }), /ticket.*Bearer <JWT>.*cookie sid/)
  t.notMatch(await detail({ jwtSecrets: [SECRET] }), /signed|application/)
  t.match(await detail({ cookieSecrets: [KEY] }), /ticket.*signed cookie session/)
  t.match(await detail({ sessionUrl: 'http://127.0.0.1:1/' }), /session of the application/)
})

test('no refusal and no log line contains the credential', async (t) => {
  const lines: string[] = []
  const identity = createIdentity({
    ...RULES,
    jwtSecrets: [SECRET],
    jwksUrl: undefined,
    cookie: 'session',
    cookieSecrets: [KEY],
    sessionUrl: 'http://127.0.0.1:1/',
    store: new FakeStore(),
    parseCookie,
    observer: new SignIns((trouble) =>
      lines.push(`${JSON.stringify(trouble)} ${(trouble as OutsideError).stack}`)
    )
  })
  const token = jwt({ sub: 'hush', exp: nowSeconds() - 1 })
  const credentials = [
    { ticket: 'hush'.repeat(11).slice(1) },
    bearer(token),
    bearer(jwt({ sub: 'hush hush' })),
    bearer(jwt({ sub: 'u', topics: ['hush hush'] })),
    session(token),
    session(signedCookie('hush', 'x')),
    session('hush'),
    bearer('hush')
  ]
  for (const one of credentials) {
    const error = await identity.authenticate(one).catch((error: unknown) => error)
    t.type(error, AuthError)
    const { message, stack, cause, kind } = error as AuthError
    if (kind === 'denied') t.equal(cause, undefined)
    lines.push(message, `${stack}`)
  }
  for (const line of lines) t.notMatch(line, /hush|eyJ/)
})

test('of several cookies with one name the first valid one counts', async (t) => {
  const { ask } = identityWith({ jwtSecrets: [SECRET], cookieSecrets: [KEY] })
  const cookies = (...values: string[]) => ({
    cookie: values.map((value) => `session=${value}`).join('; ')
  })
  const stale = jwt({ sub: 'old', exp: 1 })
  const good = jwt({ sub: 'u' })
  t.equal(await ask(cookies(stale, good)), 'u by cookie')
  t.equal(await ask(cookies('opaque', good, jwt({ sub: 'later' }))), 'u by cookie')
  t.equal(await ask(cookies(stale, signedCookie('signed', KEY))), 'signed by cookie')
  t.equal(await ask(cookies(`"${good}"`)), 'u by cookie', 'quotes around a value are removed')
  t.equal(await ask(cookies(stale, stale)), 'unauthenticated')
  t.equal(await ask({ cookie: `xsession=${good}; session2=${good}; session=` }), 'unauthenticated')
  const many = cookies(...Array.from({ length: 50 }, (_, i) => jwt({ sub: `u${i}`, exp: 1 })), good)
  t.equal(await ask(many), 'unauthenticated', 'only the first 32 cookies are verified')
})

test('a cookie that was split into pieces is reassembled', async (t) => {
  const { ask } = identityWith({ jwtSecrets: [SECRET] })
  const long = jwt({ sub: 'u', filler: 'x'.repeat(7000) })
  const pieces = [long.slice(0, 3900), long.slice(3900, 7800), long.slice(7800)]
  const cookie = (order: number[]) => ({
    cookie: order.map((i) => `session.${i}=${pieces[i]}`).join('; ')
  })
  t.equal(await ask(cookie([0, 1, 2])), 'u by cookie')
  t.equal(await ask(cookie([2, 0, 1])), 'u by cookie', 'browsers send the pieces in any order')
  t.equal(await ask(cookie([0, 2])), 'unauthenticated')
  t.equal(
    await ask({ cookie: `session=${jwt({ sub: 'old', exp: 1 })}; ${cookie([0, 1, 2]).cookie}` }),
    'u by cookie'
  )
})

test('the 401 tells a wrong signature from a missing cookie and from the format of Express', async (t) => {
  const { identity } = identityWith({ cookieSecrets: [KEY] })
  const detail = (value: string): Promise<string> =>
    identity.authenticate(session(value)).catch((error: Error) => error.message) as Promise<string>
  t.match(
    await detail(signedCookie('u', 'another-secret')),
    /signature .* does not match COOKIE_SECRET/
  )
  t.match(
    await detail(signedCookie('u', KEY).replace(/^/, 's%3A')),
    /form s:.*Express.*@fastify\/cookie/
  )
  t.match(await detail(signedCookie('a b', KEY)), /must be a user name/)
  t.match(await detail('opaque'), /was sent, but its value is not/)
  t.match(
    await identity.authenticate({}).catch((error: Error) => error.message),
    /^Send a credential/
  )
})
