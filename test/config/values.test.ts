import { generateKeyPairSync } from 'node:crypto'
import { test } from 'tap'
import { loadConfig } from '../../src/config/config.ts'
import { oneFault, PRODUCTION } from './faults.ts'

test('a number must be whole, in digits and within its bounds', async (t) => {
  for (const value of [
    '1e3',
    '12abc',
    '0x10',
    '-1',
    '1.5',
    '+5',
    '٣',
    '007',
    '99',
    '1_000',
    'NaN',
    '99999999999999999999'
  ]) {
    oneFault(t, { STALL_MS: value }, /^STALL_MS must be a whole number of milliseconds from 100/)
  }
  t.equal(loadConfig({ HEARTBEAT_MS: '100' }).heartbeatMs, 100)
  oneFault(t, { HEARTBEAT_MS: '2147483648' }, /^HEARTBEAT_MS /)
  oneFault(t, { PORT: '65536' }, /^PORT /)
  t.equal(loadConfig({ MAX_CONNECTIONS: '0' }).maxConnections, 0)
  t.equal(loadConfig({ MAX_BUFFERED_BYTES: '0' }).maxBufferedBytes, Number.MAX_SAFE_INTEGER)
  oneFault(t, { RATE_LIMIT: '-1' }, /^RATE_LIMIT .*0 switches it off/)
})

test('words, paths, URLs and origins must match exactly', async (t) => {
  t.equal(loadConfig({ BASE_PATH: '/notify/' }).basePath, '/notify')
  t.equal(loadConfig({ BASE_PATH: '/' }).basePath, '')
  for (const value of ['notify', '//x', '/a b', '/../x', '/a?b'])
    oneFault(t, { BASE_PATH: value }, /^BASE_PATH /)
  t.equal(loadConfig({ PUBLIC_URL: 'https://n.example/' }).publicUrl, 'https://n.example')
  for (const value of [
    'n.example',
    'ftp://n.example',
    'https://u:p@n.example',
    'https://n.example/?a'
  ])
    oneFault(t, { PUBLIC_URL: value }, /^PUBLIC_URL /)
  t.strictSame(
    loadConfig({ CORS_ORIGINS: 'https://a.example, http://localhost:5173' }).corsOrigins,
    ['https://a.example', 'http://localhost:5173']
  )
  for (const value of [
    'https://*.example.com',
    'https://*.a.example:8443',
    'http://*.localhost:5173',
    'capacitor://localhost'
  ])
    t.same(loadConfig({ CORS_ORIGINS: value }).corsOrigins, [value])
  for (const value of [
    '*',
    'https://a.example/',
    'a.example',
    'null',
    'https://A.example',
    'https://a.example:443',
    'https://*.a.example/x',
    'https://*.com',
    'https://a.*.example.com',
    'https://*',
    'file:///x',
    'file://localhost',
    'capacitor://localhost/x',
    'capacitor://'
  ]) {
    oneFault(t, { CORS_ORIGINS: value }, /^CORS_ORIGINS must/)
  }
  oneFault(t, { STORE: 'redis' }, /^REDIS_URL is required with STORE=redis/)
  t.equal(loadConfig({ STORE: 'redis', REDIS_URL: 'redis://h:6379' }).store, 'redis')
  oneFault(t, { STORE: 'mongo' }, /^STORE must be one of sqlite, memory, redis/)
  oneFault(t, { NODE_ENV: 'prod' }, /^NODE_ENV must be one of production/)
  oneFault(t, { REDIS_URL: 'localhost:6379' }, /^REDIS_URL must be redis:/)
  for (const value of [
    'redis://h:1',
    'rediss://u:p@h:1/2',
    'redis://h:1,h:2',
    'redis+sentinel://h:1,h:2/master'
  ]) {
    t.equal(loadConfig({ STORE: 'redis', REDIS_URL: value }).redisUrl, value)
  }
})

test('a number of hops trusts exactly that many proxies', async (t) => {
  const trust = loadConfig({ TRUST_PROXY: '2' }).trustProxy as (
    address: string,
    hop: number
  ) => boolean
  t.strictSame([trust('a', 0), trust('a', 1), trust('a', 2)], [true, true, false])
  t.equal(loadConfig({ TRUST_PROXY: 'true' }).trustProxy, true)
  t.equal(loadConfig({ TRUST_PROXY: '0' }).trustProxy, false)
  t.strictSame(loadConfig({ TRUST_PROXY: '10.0.0.0/8, loopback' }).trustProxy, [
    '10.0.0.0/8',
    'loopback'
  ])
  for (const value of ['yes', '10.0.0.0/33', 'proxy.example', '1.2.3'])
    oneFault(t, { TRUST_PROXY: value }, /^TRUST_PROXY /)
})

test('keys have names, and one name may have two keys', async (t) => {
  t.strictSame(loadConfig({ PUBLISH_KEYS: 'app:old:with:colons, app:new,other:x' }).publishKeys, [
    { name: 'app', key: 'old:with:colons' },
    { name: 'app', key: 'new' },
    { name: 'other', key: 'x' }
  ])
  t.strictSame(loadConfig({ MONITOR_KEYS: 'one,ops:two' }).monitorKeys, [
    { name: 'operator-1', key: 'one' },
    { name: 'ops', key: 'two' }
  ])
  for (const value of ['nameless', ':key', 'name:', 'a b:c', 'a:b c', ','])
    oneFault(t, { PUBLISH_KEYS: value }, /^PUBLISH_KEYS must be name:key/)
  oneFault(t, { PUBLISH_KEYS: 'a:same,b:same' }, /^PUBLISH_KEYS contains the same key twice/)
})

test('a key pair is refused as a secret, as PEM, JWK or base64', async (t) => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const jwk = JSON.stringify(publicKey.export({ format: 'jwk' }))
  for (const file of [
    pem,
    pem.replaceAll('\n', '\\n'),
    jwk,
    `{"keys":[${jwk}]}`,
    Buffer.from(pem).toString('base64'),
    Buffer.from(jwk).toString('base64')
  ]) {
    for (const name of ['AUTH_JWT_SECRET', 'COOKIE_SECRET'])
      oneFault(t, { ...PRODUCTION, [name]: file }, new RegExp(`^${name} is a PEM or a JWK`))
    oneFault(
      t,
      { ...PRODUCTION, AUTH_JWT_SECRET_PREVIOUS: file },
      /^AUTH_JWT_SECRET_PREVIOUS is a PEM or a JWK.*AUTH_JWKS_URL/
    )
  }
})
