import { generateKeyPairSync, sign } from 'node:crypto'
import { test } from 'tap'
import { bearer, identityWith, jwt, nowSeconds, SECRET, serve } from './parties.ts'

type Teardown = { teardown(fn: () => unknown): void }

/** Replaces the wall clock and the monotonic clock; the returned function advances them. */
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
    // A cache may read its clock only once a millisecond.
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

test('a cached token is rejected after its exp by the wall clock, even if it was just cached', async (t) => {
  const pass = clocks(t)
  const { ask } = identityWith({ jwtSecrets: [SECRET] })
  const [short, long, endless] = [30, 3600, undefined].map((left) =>
    bearer(jwt({ sub: 'u', exp: left && nowSeconds() + left }))
  )
  for (const token of [short, long, endless]) t.equal(await ask(token!), 'u by bearer')
  await pass({ wall: 28_000 })
  t.equal(await ask(short!), 'u by bearer', 'the token is valid until its exp')
  await pass({ wall: 2_500 })
  t.equal(await ask(short!), 'unauthenticated')
  await pass({ monotonic: 3_600_000 })
  for (const token of [long, endless])
    t.equal(await ask(token!), 'u by bearer', 'a token that left the cache is verified again')
  await pass({ wall: 3_600_000 })
  t.equal(await ask(long!), 'unauthenticated')
  t.equal(await ask(endless!), 'u by bearer')
})

test('a token is cached for at most a minute, so that a withdrawn key takes effect', async (t) => {
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
  // By now the key set is fetched again when a token needs a key.
  await pass({ wall: 3_600_000, monotonic: 59_000 })
  t.equal(await ask(token), 'u by bearer')
  t.equal(fetches, 1, 'the token came from the cache')
  await pass({ monotonic: 1_100 })
  t.equal(await ask(token), 'unauthenticated')
  t.ok(fetches > 1)
})

test('a session is looked up again when it expires, and every ten seconds even while in use', async (t) => {
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
  t.equal(asked, 2, 'use does not extend the cache time')

  // The ten seconds start with the request, because the session may change during the look-up.
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
  t.equal(asked, 5, 'the session is cached until it expires')
  await pass({ wall: 600 })
  t.equal(await ask({ cookie: 'sid=3' }), 'unauthenticated')
  t.equal(asked, 6, 'an expired session is looked up again')
})

test('while the issuer is down, known keys stay valid for a day, and only unknown keys wait for it', async (t) => {
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
  t.equal(
    await Promise.race([waiting, ask(known.token('d'))]),
    'd by bearer',
    'a known key does not wait for the issuer'
  )
  t.equal(await waiting, 'unavailable')
  const failing = fetches
  t.strictSame(
    await Promise.all(Array.from({ length: 20 }, (_, n) => ask(unknown.token(`u${n}`)))),
    Array(20).fill('unavailable')
  )
  t.equal(fetches, failing, 'invented key ids cause no further requests')

  await pass({ wall: 23 * 3_600_000, monotonic: 23 * 3_600_000 })
  t.equal(await ask(known.token('e')), 'e by bearer')
  await pass({ wall: 3_600_000, monotonic: 3_600_000 })
  t.equal(await ask(known.token('f')), 'unavailable', 'known keys expire after a day')
  behaviour = 'good'
  keys = [unknown.jwk]
  await pass({ wall: 2_000, monotonic: 2_000 })
  t.equal(
    await ask(unknown.token('g')),
    'g by bearer',
    'a new key is found once the issuer is back'
  )
  t.equal(
    await ask(known.token('h')),
    'unauthenticated',
    'a key that the issuer withdrew is rejected'
  )
  t.equal(signIns.look().keySet, undefined)
})
