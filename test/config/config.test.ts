import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Test, test } from 'tap'
import {
  type Config,
  ConfigError,
  loadConfig,
  readEnvironment,
  SETTINGS
} from '../../src/config/config.ts'
import { readEnvFile, withEnvFile } from '../../src/config/env-file.ts'

const PRODUCTION = {
  NODE_ENV: 'production',
  PUBLISH_KEYS: 'app:a-publish-key-0123',
  MONITOR_KEYS: 'ops:a-monitor-key-0123',
  AUTH_JWT_SECRET: 'a-secret-of-thirty-two-bytes-or-more'
}

function faultsOf(
  env: Record<string, string>,
  flags: Parameters<typeof loadConfig>[1] = {}
): readonly string[] {
  try {
    loadConfig(env, flags)
  } catch (error) {
    if (error instanceof ConfigError) return error.lines
    throw error
  }
  return []
}

const oneFault = (t: Test, env: Record<string, string>, expected: RegExp): void => {
  const faults = faultsOf(env)
  t.equal(faults.length, 1, `one fault: ${faults.join(' | ')}`)
  t.match(faults[0] ?? '', expected)
}

test('without any setting it is ready for development, on this machine only', async (t) => {
  const config = loadConfig({})
  t.match(config, {
    production: false,
    host: '127.0.0.1',
    port: 3000,
    basePath: '',
    store: 'sqlite',
    dataDir: './data',
    storeSync: 'full',
    heartbeatMs: 15_000,
    maxBufferedBytes: 1_048_576,
    stallMs: 30_000,
    maxConnectionsPerUser: 20,
    maxConnectionsPerIp: 0,
    maxConnectionAgeMs: 3_600_000,
    drainMs: 5000,
    rateLimit: 600,
    publishRate: 0,
    retentionDays: 30,
    retentionPerChannel: 1000,
    publicAddress: false,
    demo: true,
    warnings: []
  })
  t.strictSame(config.auth.jwtSecrets, ['dev-secret-do-not-use-in-production-0000'])
  t.equal(config.publishKeys[0]?.key, 'dev-publish-key')
  t.equal(config.monitorKeys[0]?.key, 'dev-monitor-key')
  t.ok(config.maxConnections > 0)
})

test('the settings are frozen to the bottom', async (t) => {
  const config = loadConfig({ CORS_ORIGINS: 'https://a.example' })
  t.throws(() => Object.assign(config, { port: 1 }))
  t.throws(() => Object.assign(config.auth, { cookie: 'x' }))
  t.throws(() => (config.corsOrigins as string[]).push('https://b.example'))
})

test('production listens everywhere, and needs keys and a way in: one line for each', async (t) => {
  const config = loadConfig(PRODUCTION)
  t.match(config, {
    production: true,
    host: '0.0.0.0',
    keysInUse: { development: [] },
    demo: false,
    warnings: []
  })
  const faults = faultsOf({ NODE_ENV: 'production' })
  t.equal(faults.length, 3)
  t.match(faults[0], /^PUBLISH_KEYS is required/)
  t.match(faults[1], /^MONITOR_KEYS is required/)
  t.match(
    faults[2],
    /way in for subscribers.*AUTH_JWT_SECRET, AUTH_JWKS_URL, COOKIE_SECRET, AUTH_SESSION_URL/
  )
})

test('production refuses what everybody knows', async (t) => {
  oneFault(
    t,
    { ...PRODUCTION, PUBLISH_KEYS: 'a:dev-publish-key,b:another-key-of-theirs' },
    /^PUBLISH_KEYS holds the development key/
  )
  oneFault(
    t,
    { ...PRODUCTION, MONITOR_KEYS: 'dev-monitor-key' },
    /^MONITOR_KEYS holds the development key/
  )
  oneFault(
    t,
    { ...PRODUCTION, AUTH_JWT_SECRET: 'dev-secret-do-not-use-in-production-0000' },
    /^AUTH_JWT_SECRET holds the development key/
  )
})

const KEY_SETTINGS = {
  PUBLISH_KEYS: 'app:a-publish-key-of-theirs',
  MONITOR_KEYS: 'ops:a-monitor-key-of-theirs',
  AUTH_JWT_SECRET: 'their-secret-of-thirty-two-bytes-or-more',
  COOKIE_SECRET: 'a-cookie-secret-of-theirs',
  AUTH_SESSION_URL: 'http://127.0.0.1/me',
  AUTH_JWKS_URL: 'http://127.0.0.1/keys',
  ALERT_WEBHOOK_SECRET: 'it-signs-what-real-people-hear'
}

test('a development key beside a key of one’s own stops the start where others reach it, whichever of them is forgotten', async (t) => {
  for (const [name, value] of Object.entries(KEY_SETTINGS)) {
    const own = {
      [name]: value,
      ...(name === 'ALERT_WEBHOOK_SECRET' ? { ALERT_WEBHOOK_URL: 'http://127.0.0.1/' } : {})
    }
    for (const HOST of ['0.0.0.0', '::', '10.0.0.7', 'notify.example.com', '0'])
      oneFault(
        t,
        { ...own, HOST },
        new RegExp(`development key.*beside your own ${name}, on an address that others reach`)
      )
    for (const HOST of ['127.0.0.1', '127.8.9.10', '::1', 'localhost', '']) {
      const { demo, warnings } = loadConfig({ ...own, HOST })
      t.equal(demo, false, `no demo beside ${name} on ${HOST}`)
      t.match(warnings, [new RegExp(`development key.*beside your own ${name}`)])
      t.equal(warnings.length, 1)
    }
  }
  const { PUBLISH_KEYS, MONITOR_KEYS, AUTH_JWT_SECRET } = KEY_SETTINGS
  t.match(loadConfig({ PUBLISH_KEYS, MONITOR_KEYS, AUTH_JWT_SECRET, HOST: '0.0.0.0' }), {
    demo: false,
    warnings: []
  })
  // One of two keys is enough to let anybody in.
  oneFault(
    t,
    {
      PUBLISH_KEYS: `${PUBLISH_KEYS},old:dev-publish-key`,
      MONITOR_KEYS,
      AUTH_JWT_SECRET,
      HOST: '0.0.0.0'
    },
    /^PUBLISH_KEYS would have the development key.*beside your own PUBLISH_KEYS, MONITOR_KEYS, AUTH_JWT_SECRET/
  )
  // A fault in a setting is not told as two.
  oneFault(t, { PUBLISH_KEYS: 'nameless', HOST: '0.0.0.0' }, /^PUBLISH_KEYS must be/)
})

test('development keys alone start on any address; the demo stays on this machine', async (t) => {
  for (const env of [
    {},
    { PUBLISH_KEYS: 'development:dev-publish-key' },
    { AUTH_JWT_SECRET: 'dev-secret-do-not-use-in-production-0000' }
  ]) {
    t.match(loadConfig(env), { demo: true, publicAddress: false, warnings: [] })
    t.match(loadConfig({ ...env, HOST: '0.0.0.0' }), {
      demo: false,
      publicAddress: true,
      warnings: [/others reach/]
    })
  }
  const behindProxy = { PUBLIC_URL: 'https://notify.example.com' }
  t.match(
    loadConfig(behindProxy),
    { publicAddress: true, warnings: [/others reach/] },
    'a proxy on the same machine lets others in'
  )
  t.match(loadConfig({ PUBLIC_URL: 'http://localhost:3000' }), {
    publicAddress: false,
    warnings: []
  })
})

test('the development secret is no way in where another is configured', async (t) => {
  for (const way of [
    { COOKIE_SECRET: 'c' },
    { AUTH_SESSION_URL: 'http://127.0.0.1/me' },
    { AUTH_JWKS_URL: 'http://127.0.0.1/keys' }
  ]) {
    t.strictSame(loadConfig(way).auth.jwtSecrets, [])
  }
})

test('an empty value counts as unset', async (t) => {
  t.equal(loadConfig({ PORT: '', HOST: ' ', PUBLISH_KEYS: '' }).port, 3000)
  t.match(faultsOf({ ...PRODUCTION, MONITOR_KEYS: '' }), [/^MONITOR_KEYS is required/])
})

test('flags win over the environment and are named in their faults', async (t) => {
  t.match(loadConfig({ PORT: '1', HOST: 'a' }, { port: '0', host: '::1' }), {
    port: 0,
    host: '::1'
  })
  t.match(faultsOf({}, { port: 'x', host: 'http://a' }), [/^--host /, /^--port /])
})

test('numbers are whole, in digits, and within their bounds', async (t) => {
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

test('words, paths, addresses and origins are exact', async (t) => {
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

test('a number of hops trusts as many proxies and no more', async (t) => {
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

test('keys have names, and two keys of one name may be in use at once', async (t) => {
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

test('secrets rotate: the current one first, then the one before it', async (t) => {
  const [now, before] = ['n'.repeat(32), 'b,'.repeat(16)]
  const { auth } = loadConfig({
    AUTH_JWT_SECRET: now,
    AUTH_JWT_SECRET_PREVIOUS: before,
    COOKIE_SECRET: 'a,b',
    COOKIE_SECRET_PREVIOUS: 'c'
  })
  t.strictSame(auth.jwtSecrets, [now, before])
  t.strictSame(auth.cookieSecrets, ['a,b', 'c'])
  oneFault(
    t,
    { AUTH_JWT_SECRET_PREVIOUS: before },
    /^AUTH_JWT_SECRET_PREVIOUS is set without AUTH_JWT_SECRET/
  )
  oneFault(
    t,
    { COOKIE_SECRET_PREVIOUS: 'c' },
    /^COOKIE_SECRET_PREVIOUS is set without COOKIE_SECRET/
  )
  oneFault(t, { AUTH_JWT_SECRET: 'é'.repeat(15) }, /^AUTH_JWT_SECRET must be at least 32 bytes/)
  t.doesNotThrow(() => loadConfig({ AUTH_JWT_SECRET: 'é'.repeat(16) }))
})

test('every secret may come from a file', async (t) => {
  const dir = t.testdir({
    secret: `${'s'.repeat(40)}\n`,
    keys: '\uFEFFapp:a-key-from-a-file\r\n',
    empty: '\n'
  })
  const config = loadConfig({
    AUTH_JWT_SECRET_FILE: path.join(dir, 'secret'),
    PUBLISH_KEYS_FILE: path.join(dir, 'keys')
  })
  t.strictSame(config.auth.jwtSecrets, ['s'.repeat(40)])
  t.strictSame(config.publishKeys, [{ name: 'app', key: 'a-key-from-a-file' }])
  t.doesNotThrow(() =>
    loadConfig({ ...PRODUCTION, PUBLISH_KEYS: '', PUBLISH_KEYS_FILE: path.join(dir, 'keys') })
  )
  oneFault(
    t,
    { ...PRODUCTION, PUBLISH_KEYS_FILE: path.join(dir, 'keys') },
    /^PUBLISH_KEYS and PUBLISH_KEYS_FILE are both set/
  )
  oneFault(
    t,
    { COOKIE_SECRET_FILE: path.join(dir, 'nowhere') },
    /^COOKIE_SECRET_FILE names a file that cannot be read \(ENOENT\)/
  )
  oneFault(
    t,
    { COOKIE_SECRET_FILE: dir },
    /^COOKIE_SECRET_FILE names a file that cannot be read \(EISDIR\)/
  )
  oneFault(
    t,
    { COOKIE_SECRET_FILE: path.join(dir, 'empty') },
    /^COOKIE_SECRET_FILE names an empty file/
  )
  if (process.getuid?.() !== 0) {
    const locked = path.join(dir, 'locked')
    writeFileSync(locked, 'x')
    chmodSync(locked, 0)
    oneFault(t, { COOKIE_SECRET_FILE: locked }, /EACCES/)
  }
})

test('white space at the ends of a value is cut off, of every setting alike, and quotes about it are a fault', async (t) => {
  const values = Object.fromEntries(
    SETTINGS.filter((one) => one.default !== '').map((one) => [one.name, one.default])
  )
  const given = {
    ...values,
    ...PRODUCTION,
    ALERT_WEBHOOK_URL: 'https://a.example/',
    ALERT_WEBHOOK_SECRET: 'signs',
    COOKIE_SECRET: 'c'
  }
  const pad = (pads: string) =>
    Object.fromEntries(
      Object.entries(given).map(([name, value]) => [name, `${pads}${value}${pads}`])
    )
  for (const pads of ['\n', '\r\n', ' ', '\t', '\uFEFF'])
    t.strictSame(loadConfig(pad(pads)), loadConfig(given))
  const faults = faultsOf(pad('"'))
  for (const name of Object.keys(given))
    t.ok(
      faults.some((line) => line.startsWith(`${name} has quotes about its value`)),
      name
    )
  for (const quoted of ["'0'", '`0`', '""', ' "0"\n'])
    oneFault(t, { PORT: quoted }, /^PORT has quotes about its value/)
  t.match(faultsOf({}, { port: '"0"' }), [/^--port has quotes/])
  for (const PUBLISH_KEYS of ['a:"key"', "a:b,c:'key'"])
    oneFault(t, { PUBLISH_KEYS }, /^PUBLISH_KEYS holds a key in quotes/)
  for (const MONITOR_KEYS of ['a:`key`', 'key,"other"'])
    oneFault(t, { MONITOR_KEYS }, /^MONITOR_KEYS /)

  const dir = t.testdir({ padded: ' \n the-secret \r\n\n', quoted: "'the-secret'\n" })
  t.strictSame(
    loadConfig({ COOKIE_SECRET_FILE: `${path.join(dir, 'padded')}\r` }).auth.cookieSecrets,
    ['the-secret']
  )
  oneFault(
    t,
    { COOKIE_SECRET_FILE: path.join(dir, 'quoted') },
    /^COOKIE_SECRET has quotes about its value/
  )
  oneFault(
    t,
    { COOKIE_SECRET_FILE: `"${path.join(dir, 'padded')}"` },
    /^COOKIE_SECRET_FILE has quotes about its value/
  )
})

test('production refuses keys that are short enough to be guessed, and warns of those that somebody would try first', async (t) => {
  oneFault(
    t,
    { ...PRODUCTION, PUBLISH_KEYS: 'a:x' },
    /^PUBLISH_KEYS: the key of a has fewer than 16 characters; make one with/
  )
  oneFault(
    t,
    { ...PRODUCTION, MONITOR_KEYS: 'x' },
    /^MONITOR_KEYS: the key of operator-1 has fewer than 16 characters/
  )
  const both = faultsOf({
    ...PRODUCTION,
    PUBLISH_KEYS: 'a:exactly-16-chars,b:fifteen-charact',
    MONITOR_KEYS: 'ops:short'
  })
  t.match(both, [/^PUBLISH_KEYS: the key of b /, /^MONITOR_KEYS: the key of ops /])
  t.equal(both.length, 2)
  t.doesNotThrow(() =>
    loadConfig({
      PUBLISH_KEYS: 'a:x',
      MONITOR_KEYS: 'x',
      AUTH_JWT_SECRET: PRODUCTION.AUTH_JWT_SECRET
    })
  )

  const warned = (env: Record<string, string>) => loadConfig({ ...PRODUCTION, ...env }).warnings
  t.strictSame(warned({}), [])
  t.strictSame(
    warned({
      PUBLISH_KEYS: 'a:5f1c0c2f6f1d4f9b',
      AUTH_JWT_SECRET: 'Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4QUJD'
    }),
    []
  )
  for (const weak of [
    'changeme-changeme',
    'please-change-me-soon',
    'aaaaaaaaaaaaaaaa',
    'abcabcabcabcabcabc',
    '0123456789abcdef',
    '0000000000000001'
  ])
    t.match(
      warned({ PUBLISH_KEYS: `app:${weak}` }),
      [/^PUBLISH_KEYS: the key of app looks guessable: it is well known or repeats itself/],
      weak
    )
  t.match(warned({ AUTH_JWT_SECRET: 'your-256-bit-secret-your-256-bit-secret' }), [
    /^AUTH_JWT_SECRET: the key looks guessable: it is well known/
  ])
  t.match(warned({ COOKIE_SECRET: 'password-password' }), [
    /^COOKIE_SECRET: the key looks guessable: it is well known/
  ])
  t.notMatch(
    warned({ PUBLISH_KEYS: 'app:changeme-changeme' }).join(),
    /changeme/,
    'without the key itself'
  )
})

test('the file of a key pair is no secret, in whatever way it was put there', async (t) => {
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

const NAMES = SETTINGS.flatMap(({ name }) => [name, `${name}_FILE`])

test('the environment wins over the file .env, in either way of giving a secret', async (t) => {
  const dir = t.testdir({
    '.env':
      '\uFEFF# mine\r\nPORT=4000\nHOST="::1" # here\nexport STALL_MS=200\nCOOKIE_SECRET=of-the-file\nREDIS_PREFIX=\n'
  })
  const found = readEnvFile(dir, NAMES)!
  t.match(found, { file: `${dir}/.env`, faults: [] })
  t.match(withEnvFile({}, found), {
    PORT: '4000',
    HOST: '::1',
    STALL_MS: '200',
    COOKIE_SECRET: 'of-the-file'
  })
  t.match(
    withEnvFile({ PORT: '5000', HOST: '' }, found),
    { PORT: '5000', HOST: '::1' },
    'an empty value counts as unset'
  )
  t.strictSame(withEnvFile({ COOKIE_SECRET_FILE: '/f' }, found)['COOKIE_SECRET'], undefined)
  t.equal(readEnvFile(`${t.testdirName}-without`, NAMES), undefined)
})

test('the file .env of a clone counts wherever the program is started, and that of an installed package never', async (t) => {
  const dir = t.testdir({
    '.env': 'STALL_MS=1234',
    node_modules: { bellwire: { '.env': 'STALL_MS=1234' } }
  })
  t.match(readEnvironment(dir), { env: { STALL_MS: '1234' }, file: `${dir}/.env` })
  const installed = readEnvironment(`${dir}/node_modules/bellwire/`)
  t.strictSame([installed.env['STALL_MS'], installed.file], [undefined, undefined])
})

test('a line of .env that would be dropped or cut is a fault with its number, and shows no value', async (t) => {
  const lines: [line: string, fault: RegExp | string][] = [
    ['PORT 3100', /write PORT=value$/],
    ['MONITOR_KEYS: s3cret-k3y', /write MONITOR_KEYS=value$/],
    ['s3cret-k3y', /write NAME=value$/],
    ['port=99', /port is not a setting: did you mean PORT\?$/],
    ['publish_keys_file=/s3cret', /did you mean PUBLISH_KEYS_FILE\?$/],
    ['PUBLISH_KEY=s3cret', /did you mean PUBLISH_KEYS\?$/],
    ['MONITOR_KEYS=op:s3cret#4567', /put the value of MONITOR_KEYS in quotes/],
    ['MONITOR_KEYS=#s3cret', /put the value of MONITOR_KEYS in quotes/],
    ['MONITOR_KEYS="s3cret', /begins with a quote: end it/],
    ['MONITOR_KEYS="s3"cret', /begins with a quote: end it/],
    ['MONITOR_KEYS="op:s3cret#4567" # theirs', 'op:s3cret#4567'],
    ["MONITOR_KEYS='op:\"s3#'", 'op:"s3#'],
    ['MONITOR_KEYS = op:s3cret # theirs', 'op:s3cret'],
    ['MONITOR_KEYS= # none', ''],
    ['MONITOR_KEYS="a\nb"', 'a\nb'],
    ["export MONITOR_KEYS='a\r\nb'", 'a\nb'],
    ['OTHER.program=1', '']
  ]
  for (const [line, expected] of lines) {
    const dir = t.testdir({ '.env': `# mine\n\nREDIS_PREFIX='two\nlines'\n${line}\nHOST=::1` })
    const { file, values, faults } = readEnvFile(dir, NAMES)!
    t.match(
      values,
      { REDIS_PREFIX: 'two\nlines', HOST: '::1' },
      'what stands before and after it counts'
    )
    if (typeof expected === 'string')
      t.strictSame([faults, values['MONITOR_KEYS'] ?? ''], [[], expected], line)
    else {
      t.match(faults, [expected], line)
      t.equal(faults.length, 1)
      t.ok(faults[0]!.startsWith(`${file} line 5: `))
      t.notMatch(faults[0], /s3/)
      t.throws(() => readEnvironment(dir), { message: faults[0]! })
    }
  }
})

test('contradictions are refused', async (t) => {
  oneFault(
    t,
    { AUTH_JWT_SECRET: 's'.repeat(32), AUTH_JWKS_URL: 'https://i.example/keys' },
    /^AUTH_JWT_SECRET and AUTH_JWKS_URL are both set/
  )
  oneFault(
    t,
    { COOKIE_SECRET: 'c', AUTH_JWT_ISSUER: 'i' },
    /^AUTH_JWT_ISSUER is set, but no JWT is accepted/
  )
  for (const STORE of ['sqlite', 'memory', '']) {
    const kind = STORE || 'sqlite'
    oneFault(
      t,
      { STORE, REDIS_URL: 'redis://h:1' },
      new RegExp(`^REDIS_URL is set, but STORE is ${kind}.*set STORE=redis`)
    )
    oneFault(
      t,
      { STORE, REDIS_SHARDS: '4' },
      new RegExp(`^REDIS_SHARDS is set, but STORE is ${kind}.*set STORE=redis`)
    )
  }
  oneFault(t, { STORE: 'mongo', REDIS_URL: 'redis://h:1' }, /^STORE must be/)
  oneFault(
    t,
    { ALERT_WEBHOOK_SECRET: 's' },
    /^ALERT_WEBHOOK_SECRET is set without ALERT_WEBHOOK_URL/
  )
})

test('a name that was misspelt is told, with the name that was meant; other names are nobody’s business', async (t) => {
  oneFault(t, { HEARTBEAT_M: '1000' }, /^HEARTBEAT_M is not a setting: did you mean HEARTBEAT_MS\?/)
  oneFault(t, { MAX_CONNECTION: '1' }, /did you mean MAX_CONNECTIONS\?/)
  oneFault(t, { HEARTBAET_MS: '1000' }, /did you mean HEARTBEAT_MS\?/)
  oneFault(t, { COOKIE_SECRETS: 'hush-hush' }, /did you mean COOKIE_SECRET\?/)
  for (const name of ['JWT_SECRET', 'JWT_SECRET_FILE', 'JWKS_URL', 'JWT_ISSUER', 'SESSION_URL'])
    oneFault(
      t,
      { [name]: 'x' },
      new RegExp(`^${name} is not a setting: did you mean AUTH_${name}\\?`)
    )
  t.strictSame(
    faultsOf({ ...PRODUCTION, JWT_SECRET: 'of another program', SESSION_URL: 'x' }),
    [],
    'nothing stands instead of ours'
  )
  oneFault(t, { ...PRODUCTION, JWT_ISSUER: 'i' }, /did you mean AUTH_JWT_ISSUER\?/)
  t.strictSame(
    faultsOf({
      HOME: '/root',
      HOSTNAME: 'x',
      PATH: '/bin',
      USER: 'u',
      LANG: 'C',
      REDIS_PORT: 'tcp://1',
      NODE_OPTIONS: '--x',
      PUBLIC_IP: '1'
    }),
    []
  )
})

test('no secret reaches the text of an error', async (t) => {
  const hush = 'hush hush \u00e9'
  const env = Object.fromEntries(SETTINGS.map(({ name }) => [name, hush]))
  const dir = t.testdir({ f: `${hush}\n` })
  const files = Object.fromEntries(
    SETTINGS.filter(({ secret }) => secret).map(({ name }) => [`${name}_FILE`, path.join(dir, 'f')])
  )
  for (const faults of [
    faultsOf(env),
    faultsOf(files),
    faultsOf({ ...env, ...files }),
    faultsOf({ ...env, NODE_ENV: 'production', COOKIE_SECRETS: hush })
  ]) {
    t.ok(faults.length > 3)
    for (const line of faults) t.notMatch(line, /hush/)
  }
})

test('.env.example lists every setting with its default, in force nowhere', async (t) => {
  const lines = readFileSync(path.resolve('.env.example'), 'utf8').split('\n')
  for (const { name, default: fallback, description, secret } of SETTINGS) {
    t.ok(lines.includes(`# ${name}=${fallback}`), `${name}=${fallback}`)
    t.ok(description.length > 10)
    if (secret) t.ok(lines.some((line) => line.includes(`${name}_FILE`)))
  }
  const named = lines.flatMap((line) => /^#? ?([A-Z_]+)=/.exec(line)?.[1] ?? [])
  t.strictSame(named.toSorted(), SETTINGS.map(({ name }) => name).toSorted())
  t.strictSame(
    lines.filter((line) => line !== '' && !line.startsWith('#')),
    []
  )
})

test('the defaults of the table are what an empty environment gives', async (t) => {
  const bare = loadConfig({})
  const full = loadConfig(
    Object.fromEntries(
      SETTINGS.filter((one) => one.default !== '').map((one) => [one.name, one.default])
    )
  )
  t.strictSame(full, bare satisfies Config)
})
