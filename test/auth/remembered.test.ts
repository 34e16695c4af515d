import { generateKeyPairSync, sign } from 'node:crypto'
import { test } from 'tap'
import { bearer, identityWith, jwt, nowSeconds, SECRET, serve } from './parties.ts'

type Teardown = { teardown(fn: () => unknown): void }

/** The two clocks of this process, which the test can put forward: the wall's, and the one that never goes back. */
function clocks(t: Teardown) {
  const wall = Date.now
  const monotonic = performance.now
  let [wallAhead, monotonicAhead] = [0, 0]
  Date.now = () => wall() + wallAhead
  performance.now = () => monotonic.call(performance) + monotonicAhead
  t.teardown(() => {
    Date.now = wall
    performance.now = monotonic
  })
  return async (ahead: { readonly wall?: number; readonly monotonic?: number }): Promise<void> => {
    wallAhead += ahead.wall ?? 0
    monotonicAhead += ahead.monotonic ?? 0
    // A cache may look at its clock once a millisecond only.
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

test('a remembered token is refused once its exp has passed on the wall, however young the memory is', async (t) => {
  const pass = clocks(t)
  const { ask } = identityWith({ jwtSecrets: [SECRET] })
  const [short, long, endless] = [30, 3600, undefined].map((left) =>
    bearer(jwt({ sub: 'u', exp: left && nowSeconds() + left }))
  )
  for (const token of [short, long, endless]) t.equal(await ask(token!), 'u by bearer')
  await pass({ wall: 28_000 })
  t.equal(await ask(short!), 'u by bearer', 'not before')
  await pass({ wall: 2_500 })
  t.equal(await ask(short!), 'unauthenticated')
  await pass({ monotonic: 3_600_000 })
  for (const token of [long, endless])
    t.equal(await ask(token!), 'u by bearer', 'what is forgotten is verified anew')
  await pass({ wall: 3_600_000 })
  t.equal(await ask(long!), 'unauthenticated')
  t.equal(await ask(endless!), 'u by bearer')
})

test('a token is not believed from memory for longer than a minute: a key that was withdrawn is noticed', async (t) => {
  const pass = clocks(t)
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'RS256', use: 'sig' }
  let keys = [jwk]
  let fetches = 0
  const issuer = await serve(t, (_request, response) => {
    fetches++
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys }))
  })
  const b64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const head = `${b64({ alg: 'RS256', kid: 'k1' })}.${b64({ sub: 'u', exp: nowSeconds() + 7200 })}`
  const token = bearer(
    `${head}.${sign('sha256', Buffer.from(head), privateKey).toString('base64url')}`
  )
  const { ask } = identityWith({ jwksUrl: issuer.url })
  t.equal(await ask(token), 'u by bearer')
  keys = []
  // Long enough for the key set itself to be fetched again by whoever needs a key.
  await pass({ wall: 3_600_000, monotonic: 59_000 })
  t.equal(await ask(token), 'u by bearer')
  t.equal(fetches, 1, 'from memory')
  await pass({ monotonic: 1_100 })
  t.equal(await ask(token), 'unauthenticated')
  t.ok(fetches > 1)
})

test('the answer of a session look-up is asked for again after ten seconds, however often it is used, and at its end', async (t) => {
  const pass = clocks(t)
  let asked = 0
  let answer: Record<string, unknown> = { user: 'u' }
  let wait = 0
  const application = await serve(t, async (_request, response) => {
    asked++
    await pass({ monotonic: wait })
    response.end(JSON.stringify(answer))
  })
  const { ask } = identityWith({ sessionUrl: application.url })
  const session = { cookie: 'sid=1' }
  for (let second = 0; second < 10; second++) {
    t.equal(await ask(session), 'u by session')
    t.equal(asked, 1, `after ${second} s`)
    await pass({ monotonic: second === 9 ? 1_100 : 1_000 })
  }
  t.equal(await ask(session), 'u by session')
  t.equal(asked, 2, 'being used does not prolong it')

  // Counted from the question: what the answer says may have changed while it was on its way.
  wait = 1_900
  t.equal(await ask({ cookie: 'sid=2' }), 'u by session')
  await pass({ monotonic: 8_200 })
  wait = 0
  t.equal(await ask({ cookie: 'sid=2' }), 'u by session')
  t.equal(asked, 4)

  answer = { user: 'u', expiresAt: new Date(Date.now() + 5_000).toISOString() }
  t.equal(await ask({ cookie: 'sid=3' }), 'u by session')
  await pass({ wall: 4_500 })
  t.equal(await ask({ cookie: 'sid=3' }), 'u by session')
  t.equal(asked, 5, 'not before its end')
  await pass({ wall: 600 })
  t.equal(await ask({ cookie: 'sid=3' }), 'unauthenticated')
  t.equal(asked, 6, 'at its end it is asked for again')
})

test('while the issuer is away, known keys stay good for a day, and only an unknown key waits for it', async (t) => {
  const pass = clocks(t)
  const pair = (kid: string) => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const jwk = { ...publicKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' }
    const b64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const token = (sub: string) => {
      const head = `${b64({ alg: 'ES256', kid })}.${b64({ sub, exp: nowSeconds() + 7 * 86_400 })}`
      return bearer(
        `${head}.${sign('sha256', Buffer.from(head), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
      )
    }
    return { jwk, token }
  }
  const [known, unknown] = [pair('k1'), pair('k2')]
  let behaviour: 'good' | 'away' | 'silent' = 'good'
  let fetches = 0
  let keys = [known.jwk]
  const issuer = await serve(t, (_request, response) => {
    fetches++
    if (behaviour === 'away') response.writeHead(503).end()
    else if (behaviour === 'good') response.end(JSON.stringify({ keys }))
  })
  const { ask, signIns, troubles } = identityWith({ jwksUrl: issuer.url })
  t.equal(await ask(known.token('a')), 'a by bearer')
  behaviour = 'away'
  await pass({ wall: 11 * 60_000, monotonic: 11 * 60_000 })
  t.equal(await ask(known.token('b')), 'b by bearer')
  t.equal(fetches, 2)
  t.match(troubles, [/^AUTH_JWKS_URL \(http:.*\): it answered 503 instead of a key set$/])
  t.match(signIns.look(), { failingMs: 0, keySet: { trouble: { setting: 'AUTH_JWKS_URL' } } })
  t.ok(signIns.look().keySet!.awayMs >= 11 * 60_000)

  behaviour = 'silent'
  await pass({ wall: 2_000, monotonic: 2_000 })
  const waiting = ask(unknown.token('c'))
  const began = performance.now()
  t.equal(await ask(known.token('d')), 'd by bearer')
  t.ok(performance.now() - began < 1_500, 'it did not wait for the issuer')
  t.equal(await waiting, 'unavailable')
  const failing = fetches
  t.strictSame(
    await Promise.all(Array.from({ length: 20 }, (_, n) => ask(unknown.token(`u${n}`)))),
    Array(20).fill('unavailable')
  )
  t.equal(fetches, failing, 'made-up keys do not knock without pause')

  await pass({ wall: 23 * 3_600_000, monotonic: 23 * 3_600_000 })
  t.equal(await ask(known.token('e')), 'e by bearer')
  await pass({ wall: 3_600_000, monotonic: 3_600_000 })
  t.equal(await ask(known.token('f')), 'unavailable', 'a day is over')
  behaviour = 'good'
  keys = [unknown.jwk]
  await pass({ wall: 2_000, monotonic: 2_000 })
  t.equal(await ask(unknown.token('g')), 'g by bearer', 'it is back')
  t.equal(await ask(known.token('h')), 'unauthenticated', 'and what it says counts again')
  t.equal(signIns.look().keySet, undefined)
})
