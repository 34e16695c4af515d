import { test } from 'tap'
import { type Config, loadConfig, SETTINGS } from '../../src/config/config.ts'
import { faultsOf, oneFault, PRODUCTION } from './faults.ts'

test('without any setting the config is for development on loopback', async (t) => {
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

test('the config is deeply frozen', async (t) => {
  const config = loadConfig({ CORS_ORIGINS: 'https://a.example' })
  t.throws(() => Object.assign(config, { port: 1 }))
  t.throws(() => Object.assign(config.auth, { cookie: 'x' }))
  t.throws(() => (config.corsOrigins as string[]).push('https://b.example'))
})

test('the current secret comes first, the previous one second', async (t) => {
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

test('settings that contradict each other are refused', async (t) => {
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

test('a misspelt name is reported with a suggestion, another program’s name is ignored', async (t) => {
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

test('an empty environment gives the defaults of the table', async (t) => {
  const bare = loadConfig({})
  const full = loadConfig(
    Object.fromEntries(
      SETTINGS.filter((one) => one.default !== '').map((one) => [one.name, one.default])
    )
  )
  t.strictSame(full, bare satisfies Config)
})
