import { test } from 'tap'
import { loadConfig } from '../../src/config/config.ts'
import { faultsOf, oneFault, PRODUCTION } from './faults.ts'

test('production listens on all addresses and reports each missing key and auth method in one line', async (t) => {
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
    /auth method for subscribers.*AUTH_JWT_SECRET, AUTH_JWKS_URL, COOKIE_SECRET, AUTH_SESSION_URL/
  )
})

test('production refuses the public development keys', async (t) => {
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

test('a development key beside an own key stops the start on a reachable address, whichever key is missing', async (t) => {
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

test('development keys alone start on any address, but the demo only on loopback', async (t) => {
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

test('the development secret is not accepted if another auth method is configured', async (t) => {
  for (const way of [
    { COOKIE_SECRET: 'c' },
    { AUTH_SESSION_URL: 'http://127.0.0.1/me' },
    { AUTH_JWKS_URL: 'http://127.0.0.1/keys' }
  ]) {
    t.strictSame(loadConfig(way).auth.jwtSecrets, [])
  }
})

test('production refuses short keys and warns about guessable ones', async (t) => {
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
