import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { jwtVerify } from 'jose'
import { test } from 'tap'
import { createPlainTokenReader } from '../../src/auth/plain-token.ts'
import { jwt } from '../fixtures/jwt.ts'
import { nowSeconds, RULES, SECRET } from './parties.ts'

const OTHER = 'another-secret-for-tests-of-32-bytes-or-more'
const KEY = new TextEncoder().encode(SECRET)

/** A token of any header, content and signature, signed as HS256. */
const signed = (head: string, payload: string): string =>
  `${head}.${payload}.${createHmac('sha256', SECRET).update(`${head}.${payload}`).digest('base64url')}`
const b64 = (text: string): string => Buffer.from(text).toString('base64url')

test('the tokens of common libraries are read without a library', (t) => {
  const read = createPlainTokenReader([OTHER, SECRET], RULES)
  const claims = { sub: 'ü', topics: ['news'], iat: nowSeconds(), exp: nowSeconds() + 60 }
  t.strictSame(read(jwt(claims, SECRET)), claims)
  t.strictSame(read(jwt({ sub: 'u' }, OTHER)), { sub: 'u' })
  t.strictSame(read(signed(b64('{"alg":"HS256"}'), b64('{"sub":"u"}'))), { sub: 'u' })
  const strict = createPlainTokenReader([SECRET], { jwtIssuer: 'i', jwtAudience: ['a', 'b'] })
  t.ok(strict(jwt({ sub: 'u', iss: 'i', aud: 'b' }, SECRET)))
  t.end()
})

test('a token that a library would reject is not read, whatever its claims', async (t) => {
  const instant = fc.oneof(
    fc.constantFrom(undefined, null, '1', true, 0, -1, 1.5, 5e11, 1.8e12, Number.MAX_VALUE),
    fc.integer({ min: -90, max: 90 }).map((ahead) => nowSeconds() + ahead)
  )
  const name = fc.constantFrom(undefined, null, 'i', 'a', 'b', 7, ['a'], ['x', 'b'], [], {})
  const payload = fc.oneof(
    fc
      .record({ sub: name, iat: instant, nbf: instant, exp: instant, iss: name, aud: name })
      .map((claims) => JSON.stringify(claims)),
    fc.constantFrom('', 'null', '7', '[]', '"u"', '{', '{"sub":"u"} ')
  )
  const header = fc.oneof(
    fc.constant('{"alg":"HS256","typ":"JWT"}'),
    fc.constantFrom(
      '{"alg":"none"}',
      '{"alg":"HS512","typ":"JWT"}',
      '{"alg":"HS256","crit":["x"],"x":1}',
      '{}'
    )
  )
  const change = fc.oneof(
    fc.constant((token: string) => token),
    fc.constantFrom(
      (token: string) => `${token}=`,
      (token: string) => `${token}A`,
      (token: string) => token.slice(0, -1),
      (token: string) => `${token.slice(0, -2)}AA`,
      (token: string) => token.replace('.', '..'),
      (token: string) => `${token}\n`,
      (token: string) => token.replace(/[^.]*$/, '')
    )
  )
  const rules = fc.constantFrom(RULES, { jwtIssuer: 'i', jwtAudience: ['a', 'b'] })
  let read = 0
  await fc.assert(
    fc.asyncProperty(header, payload, change, rules, async (head, body, altered, rule) => {
      const token = altered(signed(b64(head), b64(body)))
      const claims = createPlainTokenReader([SECRET], rule)(token)
      if (claims === undefined) return
      read++
      const { payload: verified } = await jwtVerify(token, KEY, {
        algorithms: ['HS256'],
        clockTolerance: 60,
        ...(rule.jwtIssuer === undefined ? {} : { issuer: rule.jwtIssuer }),
        ...(rule.jwtAudience.length === 0 ? {} : { audience: [...rule.jwtAudience] })
      })
      if (JSON.stringify(verified) !== JSON.stringify(claims)) throw new Error('other claims')
    }),
    { numRuns: 2000 }
  )
  t.ok(read > 0, 'some of them were read')
})
