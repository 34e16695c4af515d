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

test('a token yields the user, the topics and the expiry time', async (t) => {
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

test('the development token satisfies the configured rules', async (t) => {
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

test('a token with a malformed user or topic is rejected', async (t) => {
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

test('a token with alg none, another algorithm or another key is rejected, whatever its signature', async (t) => {
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

test('exp has no leeway; nbf and iat may be up to a minute in the future', async (t) => {
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

test('a cached token is rejected after its exp', async (t) => {
  const { ask } = identityWith({ jwtSecrets: [SECRET] })
  const exp = Date.now() / 1000 + 1.5
  const token = bearer(jwt({ sub: 'u', exp }))
  t.equal(await ask(token), 'u by bearer')
  while (Date.now() <= exp * 1000) await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(await ask(token), 'unauthenticated')
})

test('issuer and audience are checked if they are configured', async (t) => {
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

test('the current and the previous secret are both accepted', async (t) => {
  const { ask } = identityWith({ jwtSecrets: [OTHER, SECRET] })
  t.equal(await ask(bearer(jwt({ sub: 'old' }, SECRET))), 'old by bearer')
  t.equal(await ask(bearer(jwt({ sub: 'new' }, OTHER))), 'new by bearer')
  t.equal(await ask(bearer(jwt({ sub: 'old', exp: 1 }, SECRET))), 'unauthenticated')
})

test('a revocation rejects tokens issued up to its second, cached or not', async (t) => {
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
    'the tokens of other users stay valid'
  )
})

test('a token is unavailable, not rejected, while the store is down', async (t) => {
  const { ask } = identityWith({
    jwtSecrets: [SECRET],
    store: {
      takeTicket: async () => null,
      revokedAt: () => Promise.reject(new StoreError('unavailable', 'away'))
    }
  })
  t.equal(await ask(bearer(jwt({ sub: 'u' }))), 'unavailable')
})

test('new keys of a key set are found, foreign keys rejected, and known keys outlast the issuer', async (t) => {
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
    'a foreign key with a known key id'
  )
  await new Promise((resolve) => setTimeout(resolve, 1_050))
  keys = [first.jwk, second.jwk]
  t.equal(await ask(bearer(second.token({ sub: 'u' }))), 'u by bearer', 'a new key is found')
  t.equal(await ask(bearer(first.token({ sub: 'v' }))), 'v by bearer', 'the old key stays valid')
  t.equal(
    await ask(bearer(second.token({ sub: 'w' }, {}))),
    'w by bearer',
    'without a key id each key is tried'
  )
  t.equal(await ask(bearer(foreign.token({ sub: 'w' }, {}))), 'unauthenticated')
  await issuer.close()
  t.equal(
    await ask(bearer(first.token({ sub: 'x' }))),
    'x by bearer',
    'a known key is used while the issuer is down'
  )
})

test('an issuer that is down or sends no key set makes tokens unavailable, not rejected', async (t) => {
  const key = rsa('k1')
  const down = await serve(t, () => {})
  await down.close()
  const { ask } = identityWith({ jwksUrl: down.url })
  t.equal(await ask(bearer(key.token({ sub: 'u' }))), 'unavailable')
  t.equal(
    await ask(bearer('not-a-jwt')),
    'unauthenticated',
    'a value that is not a JWT is rejected without the key set'
  )
  await serve(
    t,
    (_request, response) => response.end(JSON.stringify({ keys: [key.jwk] })),
    down.port
  )
  // Bellwire fetches the key set again.
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
      'the message names the setting and the origin'
    )
  }
})

test('a token that is signed with a public key as HS256 secret is rejected', async (t) => {
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
    'a symmetric key in the set is ignored'
  )
  t.equal(await ask(bearer(key.token({ sub: 'u' }))), 'u by bearer')
})

test('user names and claims of common identity providers are accepted', async (t) => {
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
  t.equal(
    await ask(bearer(jwt({ sub: 42 }))),
    '42 by bearer',
    'a whole number is accepted as a user'
  )
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
    'sub is not a fallback for the configured claim'
  )
  const inherited = identityWith({ jwtSecrets: [SECRET], jwtUserClaim: '/constructor/name' })
  t.equal(
    await inherited.ask(bearer(jwt({ sub: 'u' }))),
    'unauthenticated',
    'inherited properties are not claims'
  )
})

test('the 401 for a token names the claim, the expected value and the clock skew', async (t) => {
  const strict = { jwtIssuer: 'https://i.example/', jwtAudience: ['a', 'b'], jwtUserClaim: 'uid' }
  const key = rsa('k1')
  const issuer = await serve(t, (_request, response) =>
    response.end(JSON.stringify({ keys: [key.jwk] }))
  )
  const now = nowSeconds()
  const good = { uid: 'u', iss: 'https://i.example/', aud: 'a' }
  const wrong: [Record<string, unknown>, RegExp][] = [
    [{ ...good, exp: now - 3 }, /expired [34] s ago \(exp\)/],
    [{ ...good, nbf: now + 90 }, /becomes valid in (89|90) s \(nbf\).*60 s.*clocks/],
    [{ ...good, iat: now + 3000 }, /issued (2999|3000) s in the future \(iat\).*60 s.*clocks/],
    [{ ...good, iat: Date.now() }, /iat of the token is in milliseconds; JWTs count seconds/],
    [{ ...good, nbf: Date.now() }, /nbf of the token is in milliseconds; JWTs count seconds/],
    [
      { ...good, exp: Date.now() + 3_600_000 },
      /exp of the token is in milliseconds; JWTs count seconds/
    ],
    [{ ...good, aud: 'c' }, /aud .* must be or contain "a" or "b" \(AUTH_JWT_AUDIENCE\)/],
    [{ ...good, aud: undefined }, /aud .* must be or contain "a" or "b" \(AUTH_JWT_AUDIENCE\)/],
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
    'exp may be the end of the year 9999, in seconds'
  )
  t.equal(await detail(byKeySet, key.token(good)), 'accepted')
  t.match(await detail(bySecret, jwt(good, 'x'.repeat(32))), /a secret other than AUTH_JWT_SECRET/)
  t.match(await detail(byKeySet, rsa('k2').token(good)), /not in the key set of AUTH_JWKS_URL/)
  t.match(
    await detail(byKeySet, rsa('k1').token(good)),
    /not in the key set of AUTH_JWKS_URL/,
    'a foreign key with a known key id'
  )
  t.match(await detail(byKeySet, jwt(good)), /algorithm.*RS256/)
  t.match(await detail(bySecret, key.token(good)), /algorithm.*HS256/)
  for (const garbage of ['garbage', 'a.b.c', '..'])
    t.match(await detail(bySecret, garbage), /not a readable JWT/)
})
