import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { test } from 'tap'
import { signDevToken } from '../../src/auth/jwt.ts'
import { StoreError } from '../../src/log/store.ts'
import { allowsTopic } from '../../src/log/subscriber.ts'
import { bearer, identityWith, jwt, nowSeconds, RULES, SECRET, serve, whoIs } from './parties.ts'

const OTHER = 'another-secret-for-tests-of-32-bytes-or-more'
const b64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

function rsa(kid: string) {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const token = (
    claims: Record<string, unknown>,
    header: Record<string, unknown> = { kid }
  ): string => {
    const head = `${b64({ alg: 'RS256', ...header })}.${b64({ exp: nowSeconds() + 60, ...claims })}`
    return `${head}.${sign('sha256', Buffer.from(head), privateKey).toString('base64url')}`
  }
  return {
    jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' },
    token,
    publicKey: publicKey as KeyObject
  }
}

test('a token names the user, the topics and its end', async (t) => {
  const { identity } = identityWith({ jwtSecrets: [SECRET] })
  const exp = nowSeconds() + 60
  const { subscriber, via } = await identity.authenticate(
    bearer(jwt({ sub: 'u:1', topics: ['news', 'project:*'], exp }))
  )
  t.strictSame(whoIs(subscriber), {
    user: 'u:1',
    topics: ['news', 'project:*'],
    expiresAt: exp * 1000
  })
  t.equal(via, 'bearer')
  t.ok(allowsTopic(subscriber, 'project:7'))
  t.notOk(allowsTopic(subscriber, 'projects'))
  const bare = await identity.authenticate(bearer(jwt({ sub: 'u1', exp: undefined })))
  t.strictSame(whoIs(bare.subscriber), { user: 'u1', topics: [] })
})

test('the token for trying out is one that is accepted', async (t) => {
  const rules = {
    ...RULES,
    jwtIssuer: 'i',
    jwtAudience: ['a', 'b'],
    jwtUserClaim: '/app/user',
    jwtTopicsClaim: 'https://a.example/topics'
  }
  const { ask } = identityWith({ jwtSecrets: [SECRET], ...rules })
  t.equal(await ask(bearer(signDevToken('alice', ['a*'], SECRET, 60, rules))), 'alice by bearer')
  t.equal(await ask(bearer(signDevToken('alice', [], SECRET, 60, RULES))), 'unauthenticated')
})

test('what is not a user or a topic is refused', async (t) => {
  const { ask } = identityWith({ jwtSecrets: [SECRET] })
  for (const claims of [
    {},
    { sub: '' },
    { sub: 7.5 },
    { sub: -1 },
    { sub: 2 ** 53 },
    { sub: true },
    { sub: ['u'] },
    { sub: 'a b' },
    { sub: 'x'.repeat(129) },
    { sub: 'a\n' },
    { sub: 'a*' }
  ]) {
    t.equal(await ask(bearer(jwt(claims))), 'unauthenticated', JSON.stringify(claims))
  }
  for (const topics of ['news', [7], ['a b'], ['*a'], ['a**'], [''], { 0: 'a' }]) {
    t.equal(await ask(bearer(jwt({ sub: 'u', topics }))), 'unauthenticated', JSON.stringify(topics))
  }
  t.equal(await ask(bearer(jwt({ sub: 'u', topics: ['*'] }))), 'u by bearer')
})

test('no algorithm, another algorithm and another key are refused, with any signature of any length', async (t) => {
  const { ask } = identityWith({ jwtSecrets: [SECRET] })
  const payload = b64({ sub: 'u', exp: nowSeconds() + 60 })
  for (const alg of ['none', 'None', 'NONE', 'HS384', 'HS512', 'RS256', 'ES256', '', 7]) {
    const head = `${b64({ alg })}.${payload}`
    for (const signature of [
      '',
      createHmac('sha256', SECRET).update(head).digest('base64url'),
      'AA',
      'A'.repeat(2000)
    ]) {
      t.equal(await ask(bearer(`${head}.${signature}`)), 'unauthenticated', `${alg}`)
    }
  }
  t.equal(
    await ask(bearer(createHmac('sha512', SECRET).update('x').digest('hex'))),
    'unauthenticated'
  )
  t.equal(await ask(bearer(jwt({ sub: 'u' }, 'k'))), 'unauthenticated')
  t.equal(await ask(bearer(jwt({ sub: 'u' }, OTHER))), 'unauthenticated')
  t.equal(await ask(bearer(jwt({ sub: 'u' }, SECRET, { crit: ['x'], x: 1 }))), 'unauthenticated')
  for (const junk of ['', '.', '..', 'a.b.c', '\u00ff', 'x'.repeat(10_000)])
    t.equal(await ask(bearer(junk)), 'unauthenticated')
})

test('exp counts to the millisecond; nbf and iat may be a minute ahead, for clocks differ', async (t) => {
  const { ask } = identityWith({ jwtSecrets: [SECRET] })
  const now = nowSeconds()
  t.equal(await ask(bearer(jwt({ sub: 'u', exp: now - 1 }))), 'unauthenticated')
  t.equal(await ask(bearer(jwt({ sub: 'u', exp: now }))), 'unauthenticated')
  for (const claim of ['nbf', 'iat']) {
    t.equal(await ask(bearer(jwt({ sub: 'u', [claim]: now + 55 }))), 'u by bearer', claim)
    t.equal(await ask(bearer(jwt({ sub: 'u', [claim]: now + 65 }))), 'unauthenticated', claim)
    t.equal(await ask(bearer(jwt({ sub: 'u', [claim]: 'soon' }))), 'unauthenticated', claim)
  }
  t.equal(await ask(bearer(jwt({ sub: 'u', exp: 'tomorrow' }))), 'unauthenticated')
})

test('a token that is remembered ends on time all the same', async (t) => {
  const { ask } = identityWith({ jwtSecrets: [SECRET] })
  const exp = Date.now() / 1000 + 1.5
  const token = bearer(jwt({ sub: 'u', exp }))
  t.equal(await ask(token), 'u by bearer')
  while (Date.now() <= exp * 1000) await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(await ask(token), 'unauthenticated')
})

test('issuer and audience count where they are set', async (t) => {
  const { ask } = identityWith({
    jwtSecrets: [SECRET],
    jwtIssuer: 'https://i.example',
    jwtAudience: ['bellwire', 'bell']
  })
  const good = { sub: 'u', iss: 'https://i.example', aud: ['other', 'bellwire'] }
  t.equal(await ask(bearer(jwt(good))), 'u by bearer')
  t.equal(await ask(bearer(jwt({ ...good, aud: 'bell' }))), 'u by bearer')
  t.equal(await ask(bearer(jwt({ ...good, iss: 'https://j.example' }))), 'unauthenticated')
  t.equal(await ask(bearer(jwt({ ...good, iss: undefined }))), 'unauthenticated')
  t.equal(await ask(bearer(jwt({ ...good, aud: 'other' }))), 'unauthenticated')
  t.equal(await ask(bearer(jwt({ ...good, aud: undefined }))), 'unauthenticated')
})

test('two secrets are good at once while one replaces the other', async (t) => {
  const { ask } = identityWith({ jwtSecrets: [OTHER, SECRET] })
  t.equal(await ask(bearer(jwt({ sub: 'old' }, SECRET))), 'old by bearer')
  t.equal(await ask(bearer(jwt({ sub: 'new' }, OTHER))), 'new by bearer')
  t.equal(await ask(bearer(jwt({ sub: 'old', exp: 1 }, SECRET))), 'unauthenticated')
})

test('a revocation refuses tokens of its second and before, remembered or not', async (t) => {
  const { ask, store } = identityWith({ jwtSecrets: [SECRET] })
  const second = nowSeconds() - 10
  const [before, same, fraction, after, without] = [
    second - 1,
    second,
    second + 0.9,
    second + 1,
    undefined
  ].map((iat) => bearer(jwt({ sub: 'u', iat })))
  for (const token of [before, same, fraction, after, without])
    t.equal(await ask(token!), 'u by bearer')
  store.revoked.set('u', second * 1000 + 1)
  for (const token of [before, same, fraction, without])
    t.equal(await ask(token!), 'unauthenticated')
  t.equal(await ask(after!), 'u by bearer')
  t.equal(
    await ask(bearer(jwt({ sub: 'v', iat: second }))),
    'v by bearer',
    'nobody else is concerned'
  )
})

test('a store that cannot tell about revocations is no refusal', async (t) => {
  const { ask } = identityWith({
    jwtSecrets: [SECRET],
    store: {
      takeTicket: async () => null,
      revokedAt: () => Promise.reject(new StoreError('unavailable', 'away'))
    }
  })
  t.equal(await ask(bearer(jwt({ sub: 'u' }))), 'unavailable')
})

test('a key set: rotation, unknown keys, and an issuer that is down', async (t) => {
  const [first, second, foreign] = [rsa('k1'), rsa('k2'), rsa('k3')]
  let keys = [first.jwk]
  let fetches = 0
  const issuer = await serve(t, (_request, response) => {
    fetches++
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys }))
  })
  const { ask } = identityWith({ jwksUrl: issuer.url })
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, i) => ask(bearer(first.token({ sub: `u${i}` }))))
  )
  t.strictSame(
    answers,
    Array.from({ length: 10 }, (_, i) => `u${i} by bearer`)
  )
  t.equal(fetches, 1, 'the key set is fetched once')
  t.equal(await ask(bearer(foreign.token({ sub: 'u' }))), 'unauthenticated')
  t.equal(
    await ask(bearer(foreign.token({ sub: 'u' }, { kid: 'k1' }))),
    'unauthenticated',
    'another key under a known name'
  )
  await new Promise((resolve) => setTimeout(resolve, 1_050))
  keys = [first.jwk, second.jwk]
  t.equal(await ask(bearer(second.token({ sub: 'u' }))), 'u by bearer', 'a new key is found')
  t.equal(await ask(bearer(first.token({ sub: 'v' }))), 'v by bearer', 'beside the old one')
  t.equal(
    await ask(bearer(second.token({ sub: 'w' }, {}))),
    'w by bearer',
    'without a key id each is tried'
  )
  t.equal(await ask(bearer(foreign.token({ sub: 'w' }, {}))), 'unauthenticated')
  await issuer.close()
  t.equal(
    await ask(bearer(first.token({ sub: 'x' }))),
    'x by bearer',
    'known keys do without the issuer'
  )
})

test('an issuer that is down or talks nonsense is trouble, not a refusal', async (t) => {
  const key = rsa('k1')
  const down = await serve(t, () => {})
  await down.close()
  const { ask } = identityWith({ jwksUrl: down.url })
  t.equal(await ask(bearer(key.token({ sub: 'u' }))), 'unavailable')
  t.equal(await ask(bearer('not-a-jwt')), 'unauthenticated', 'what is no token needs no key')
  await serve(
    t,
    (_request, response) => response.end(JSON.stringify({ keys: [key.jwk] })),
    down.port
  )
  // It is asked again when it is back.
  while ((await ask(bearer(key.token({ sub: 'u' })))) !== 'u by bearer')
    await new Promise((resolve) => setTimeout(resolve, 20))
  const answers: [number, string, RegExp][] = [
    [500, '{}', /it answered 500/],
    [200, 'nonsense', /other than JSON/],
    [200, '{"keys":7}', /not a key set/],
    [200, '{"keys":[{"kty":"EC"}]}', /no key to verify/],
    [302, '', /it answered 302/],
    [
      200,
      JSON.stringify({ keys: [], filler: 'x'.repeat(1024 * 1024) }),
      /larger than 1048576 bytes/
    ]
  ]
  for (const [status, body, trouble] of answers) {
    const bad = await serve(t, (_request, response) =>
      response.writeHead(status, { location: '/' }).end(body)
    )
    const { ask, troubles } = identityWith({ jwksUrl: bad.url })
    t.equal(
      await ask(bearer(key.token({ sub: 'u' }))),
      'unavailable',
      `${status} ${body.slice(0, 50)}`
    )
    t.match(troubles[0], trouble)
    t.ok(
      troubles[0]!.startsWith(`AUTH_JWKS_URL (${new URL(bad.url).origin}): `),
      'the setting and the origin are named'
    )
  }
})

test('the public key of a key set is no HS256 secret', async (t) => {
  const key = rsa('k1')
  const secretLike = {
    kty: 'oct',
    k: Buffer.from(SECRET).toString('base64url'),
    kid: 'shared',
    alg: 'HS256'
  }
  const issuer = await serve(t, (_request, response) =>
    response.end(JSON.stringify({ keys: [key.jwk, secretLike] }))
  )
  const { ask } = identityWith({ jwksUrl: issuer.url })
  const pem = key.publicKey.export({ type: 'spki', format: 'pem' }) as string
  const der = key.publicKey.export({ type: 'spki', format: 'der' }) as Buffer
  for (const forged of [pem, pem.trim(), der])
    t.equal(await ask(bearer(jwt({ sub: 'u' }, forged, { kid: 'k1' }))), 'unauthenticated')
  t.equal(
    await ask(bearer(jwt({ sub: 'u' }, SECRET, { kid: 'shared' }))),
    'unauthenticated',
    'not even a secret in the set'
  )
  t.equal(await ask(bearer(key.token({ sub: 'u' }))), 'u by bearer')
})

test('tokens as identity providers issue them name their users', async (t) => {
  const { ask } = identityWith({ jwtSecrets: [SECRET] })
  for (const sub of [
    'auth0|64ab0c1d',
    'google-oauth2|1056',
    'ann+alerts@example.com',
    'user_2ab',
    'a=b~c',
    'urn:x/y'
  ])
    t.equal(await ask(bearer(jwt({ sub }))), `${sub} by bearer`)
  t.equal(await ask(bearer(jwt({ sub: 42 }))), '42 by bearer', 'a whole number is a user')
  t.equal(await ask(bearer(jwt({ sub: 0 }))), '0 by bearer')
  t.equal(await ask(bearer(jwt({ sub: 2 ** 53 - 1 }))), '9007199254740991 by bearer')

  const named = identityWith({
    jwtSecrets: [SECRET],
    jwtUserClaim: '/app~1x/~0id',
    jwtTopicsClaim: 'https://a.example/topics'
  })
  const claims = {
    sub: 'other',
    'app/x': { '~id': 7 },
    topics: ['no'],
    'https://a.example/topics': ['yes']
  }
  const { subscriber } = await named.identity.authenticate(bearer(jwt(claims)))
  t.strictSame([subscriber.user, subscriber.topics], ['7', ['yes']])
  t.equal(
    await named.ask(bearer(jwt({ sub: 'u' }))),
    'unauthenticated',
    'sub does not stand in for it'
  )
  const inherited = identityWith({ jwtSecrets: [SECRET], jwtUserClaim: '/constructor/name' })
  t.equal(
    await inherited.ask(bearer(jwt({ sub: 'u' }))),
    'unauthenticated',
    'what every object has is no claim'
  )
})

test('a refused token is told which claim, what is expected, and how far off the clocks are', async (t) => {
  const strict = { jwtIssuer: 'https://i.example/', jwtAudience: ['a', 'b'], jwtUserClaim: 'uid' }
  const key = rsa('k1')
  const issuer = await serve(t, (_request, response) =>
    response.end(JSON.stringify({ keys: [key.jwk] }))
  )
  const now = nowSeconds()
  const good = { uid: 'u', iss: 'https://i.example/', aud: 'a' }
  const wrong: [Record<string, unknown>, RegExp][] = [
    [{ ...good, exp: now - 3 }, /expired [34] s ago \(exp\)/],
    [{ ...good, nbf: now + 90 }, /valid only (89|90) s from now \(nbf\).*60 s.*clocks/],
    [{ ...good, iat: now + 3000 }, /issued (2999|3000) s in the future \(iat\).*60 s.*clocks/],
    [{ ...good, iat: Date.now() }, /iat of the token is in milliseconds; JWTs count seconds/],
    [{ ...good, nbf: Date.now() }, /nbf of the token is in milliseconds; JWTs count seconds/],
    [
      { ...good, exp: Date.now() + 3_600_000 },
      /exp of the token is in milliseconds; JWTs count seconds/
    ],
    [{ ...good, aud: 'c' }, /aud .* must be or hold "a" or "b" \(AUTH_JWT_AUDIENCE\)/],
    [{ ...good, aud: undefined }, /aud .* must be or hold "a" or "b" \(AUTH_JWT_AUDIENCE\)/],
    [
      { ...good, iss: 'https://i.example' },
      /iss .* must be "https:\/\/i.example\/" \(AUTH_JWT_ISSUER\)/
    ],
    [{ ...good, uid: 'a b' }, /uid .* must name the user.*\| \+ = ~.*AUTH_JWT_USER_CLAIM/],
    [{ ...good, topics: 'news' }, /topics .* must be an array/]
  ]
  const bySecret = identityWith({ jwtSecrets: [OTHER, SECRET], ...strict }).identity
  const byKeySet = identityWith({ jwksUrl: issuer.url, ...strict }).identity
  const detail = (identity: typeof bySecret, token: string): Promise<string> =>
    identity.authenticate(bearer(token)).then(
      () => 'accepted',
      (error: Error) => error.message
    )
  for (const [claims, expected] of wrong) {
    t.match(await detail(bySecret, jwt(claims)), expected)
    t.match(await detail(byKeySet, key.token(claims)), expected)
  }
  t.equal(await detail(bySecret, jwt(good)), 'accepted')
  t.equal(
    await detail(bySecret, jwt({ ...good, exp: 253_402_300_799 })),
    'accepted',
    'the end of the year 9999, in seconds'
  )
  t.equal(await detail(byKeySet, key.token(good)), 'accepted')
  t.match(await detail(bySecret, jwt(good, 'x'.repeat(32))), /another secret than AUTH_JWT_SECRET/)
  t.match(await detail(byKeySet, rsa('k2').token(good)), /AUTH_JWKS_URL does not hold/)
  t.match(
    await detail(byKeySet, rsa('k1').token(good)),
    /AUTH_JWKS_URL does not hold/,
    'of the same name'
  )
  t.match(await detail(byKeySet, jwt(good)), /algorithm.*RS256/)
  t.match(await detail(bySecret, key.token(good)), /algorithm.*HS256/)
  for (const garbage of ['garbage', 'a.b.c', '..'])
    t.match(await detail(bySecret, garbage), /no JWT that can be read/)
})
