import { test } from 'tap'
import { createKeyring } from '../../src/auth/keyring.ts'

const keys = [
  { name: 'app', key: 'old-key' },
  { name: 'app', key: 'new:key' },
  { name: 'ops', key: 'k' }
]
const ring = createKeyring(keys, { basic: true })
const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`

test('a key is found by its name, and two keys may share one', async (t) => {
  t.equal(ring.match('Bearer old-key'), 'app')
  t.equal(ring.match('bearer  new:key '), 'app')
  t.equal(ring.match('Bearer k'), 'ops')
})

test('the password of Basic is the key, and its user name is ignored', async (t) => {
  t.equal(ring.match(basic('anyone', 'new:key')), 'app')
  t.equal(ring.match(basic('', 'k')), 'ops')
  t.equal(ring.match(basic('k', '')), undefined)
  t.equal(ring.match(basic('old-key', 'x')), undefined)
  t.equal(
    createKeyring(keys).match(basic('anyone', 'new:key')),
    undefined,
    'Basic is accepted only if enabled'
  )
})

test('a wrong or malformed key of any length is rejected without an exception, in linear time', async (t) => {
  const wrong = [
    undefined,
    '',
    'Bearer',
    'Bearer ',
    'old-key',
    'Token old-key',
    'Bearer old-ke',
    'Bearer old-keyy',
    'Bearer old key',
    `Bearer ${'x'.repeat(100_000)}`,
    `Bearer ${' '.repeat(100_000)}x y`,
    'Bearer \u00ff\u0000',
    'Basic',
    'Basic ====',
    'Basic !',
    basic('', ''),
    `Basic ${Buffer.from('old-key').toString('base64')}`
  ]
  const started = performance.now()
  for (const header of wrong) t.equal(ring.match(header), undefined)
  t.ok(performance.now() - started < 1_000, 'in linear time')
  t.equal(createKeyring([]).match('Bearer k'), undefined)
})
