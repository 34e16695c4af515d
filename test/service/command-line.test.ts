import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'tap'
import { SECRET } from '../fixtures/jwt.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import {
  call,
  MONITOR_KEY,
  openStream,
  PUBLISH_KEY,
  publish,
  runService,
  serviceEnv,
  startService,
  tokenOf
} from './harness.ts'

test('--help lists every setting, --version prints the version, --check-config validates the settings', async (t) => {
  const env = serviceEnv(tempDir(t))
  const help = await runService(['--help'], env)
  t.equal(help.code, 0)
  for (const name of ['PUBLISH_KEYS', 'HEARTBEAT_MS', 'DATA_DIR', 'AUTH_JWKS_URL'])
    t.match(help.stdout, name)
  t.match((await runService(['--version'], env)).stdout, /^\d+\.\d+\.\d+\n$/)
  t.match(await runService(['--check-config'], env), { code: 0, stdout: /fine/ })
  t.match(await runService(['--check-config'], { ...env, HEARTBEAT_MS: 'soon', STALL_MS: '5' }), {
    code: 1,
    stderr: /HEARTBEAT_MS.*\n.*STALL_MS/
  })
  for (const [args, line] of [
    [['fly'], 'there is no command "fly": see --help'],
    [['tokn', 'ann'], 'there is no command "tokn": did you mean token?'],
    [['--fly'], 'there is no option --fly: see --help'],
    [['--chekc'], 'there is no option --chekc: did you mean --check-config?'],
    [['--check_config'], 'there is no option --check_config: did you mean --check-config?'],
    [['-x'], 'there is no option -x: see --help'],
    [['--port'], '--port needs a value: --port <port>'],
    [
      ['token', 'alice', 'news', 'ops'],
      'token <user> [--topics a,b]: "news" is one word too many: did you mean --topics news,ops?'
    ],
    [['backup', 'a.db', 'b.db'], 'backup <file>: "b.db" is one word too many'],
    [['--help=me'], '--help takes no value']
  ] as const)
    t.match(await runService(args, env), { code: 1, stderr: `bellwire: ${line}\n` })
})

test('production refuses to start without keys and names each missing one on its own line', async (t) => {
  const { code, stderr } = await runService([], {
    PATH: process.env['PATH']!,
    NODE_ENV: 'production',
    DATA_DIR: tempDir(t),
    PORT: '0'
  })
  t.equal(code, 1)
  t.match(stderr, /PUBLISH_KEYS/)
  t.match(stderr, /MONITOR_KEYS/)
  t.match(stderr, /AUTH_/)
})

test('without settings it starts in development mode: warns, listens on loopback, prints commands that work when pasted', async (t) => {
  const dataDir = tempDir(t)
  const service = await startService(t, {
    env: { NODE_ENV: '', HOST: '', PUBLISH_KEYS: '', MONITOR_KEYS: '', AUTH_JWT_SECRET: '' },
    dataDir
  })
  const output = service.output()
  t.match(service.url, /^http:\/\/127\.0\.0\.1:/)
  t.match(output, /DEVELOPMENT KEYS ARE IN USE/)
  const subscribe = /Bearer (\S+)' (\S+\/v1\/stream)/.exec(output)!
  const stream = await openStream(t, subscribe[2]!, { token: subscribe[1]! })
  await stream.until((f) => f.event === 'ready')
  const pasted = /curl -X POST (\S+) -H 'Authorization: (.+?)' -H '.+?' -d '(.+)'/.exec(output)!
  const answer = await call('POST', pasted[1]!, {
    body: pasted[3]!,
    headers: { authorization: pasted[2]! }
  })
  t.equal(answer.status, 201)
  t.match(await stream.until((f) => f.event === 'notification'), {
    data: { item: { title: 'Hello, Alice' } }
  })
  t.equal((await call('GET', `${service.url}/monitor`, { key: 'dev-monitor-key' })).status, 200)
  t.match((await call('GET', `${service.url}/demo`)).text, /<!doctype html>/i)
  const token = await runService(['token', 'bob', '--topics', 'a,b'], {
    PATH: process.env['PATH']!,
    DATA_DIR: dataDir
  })
  t.equal(token.code, 0)
  const bob = await openStream(t, `${service.url}/v1/stream`, { token: token.stdout.trim() })
  t.match((await bob.until((f) => f.event === 'ready')).data, { user: 'bob', topics: ['a', 'b'] })
})

test('the start message names the operator’s own keys but does not print them', async (t) => {
  const secret = 'a secret of their own, long enough to be one'
  const env = {
    NODE_ENV: 'development',
    PUBLISH_KEYS: 'app:own-publish-key',
    MONITOR_KEYS: 'own-monitor-key',
    AUTH_JWT_SECRET: secret
  }
  const output = (await startService(t, { env })).output()
  t.notMatch(output, /own-publish-key|own-monitor-key|eyJ|a secret of their own/)
  t.match(output, /-H "Authorization: Bearer \$\(node dist\/main\.js token alice --topics news\)"/)
  t.match(
    output,
    /PUBLISH_KEYS in \$PUBLISH_KEY\):\n +curl .* -H "Authorization: Bearer \$PUBLISH_KEY"/
  )
  t.match(output, /password one of MONITOR_KEYS/)
})

const NOTHING_SET = { NODE_ENV: '', PUBLISH_KEYS: '', MONITOR_KEYS: '', AUTH_JWT_SECRET: '' }

test('with an own key configured, the demo hands out no token, no ticket and publishes nothing', async (t) => {
  const env = {
    ...NOTHING_SET,
    AUTH_JWT_SECRET: 'a secret of their own, long enough to be one',
    STORE: 'memory'
  }
  const service = await startService(t, { env })
  for (const path of ['/demo/token', '/demo/ticket', '/demo/publish'])
    t.equal(
      (
        await call('POST', `${service.url}${path}`, {
          body: { user: 'victim', topics: ['secret'] }
        })
      ).status,
      404,
      path
    )
  for (const path of ['/', '/demo'])
    t.equal((await call('GET', `${service.url}${path}`)).status, 404, path)
  const monitor = await call('GET', `${service.url}/monitor`, { key: 'dev-monitor-key' })
  t.match(monitor.body, {
    status: 'critical',
    recommendations: [{ code: 'development-credentials', severity: 'critical' }]
  })
  t.match(
    service.output(),
    /"level":40.*PUBLISH_KEYS, MONITOR_KEYS have their development key.*beside your own AUTH_JWT_SECRET/
  )
  t.notMatch(service.output(), /\/demo/, 'nor does the start name it')

  const refused = await runService([], serviceEnv(service.dataDir, { ...env, HOST: '0.0.0.0' }))
  t.match(refused, {
    code: 1,
    stderr: /^bellwire: PUBLISH_KEYS, MONITOR_KEYS would have the development key.*\n$/
  })
})

test('development keys on a public address start with a warning, critical health and no demo', async (t) => {
  const service = await startService(t, {
    env: { ...NOTHING_SET, HOST: '0.0.0.0', STORE: 'memory' }
  })
  const url = service.url.replace('0.0.0.0', '127.0.0.1')
  t.match(service.output(), /DEVELOPMENT KEYS ARE IN USE.*\n.*others reach/)
  t.equal(
    (await call('POST', `${url}/demo/token`, { body: { user: 'victim', topics: ['*'] } })).status,
    404
  )
  const monitor = await call('GET', `${url}/monitor`, { key: 'dev-monitor-key' })
  t.match(monitor.body, {
    status: 'critical',
    recommendations: [{ code: 'development-credentials' }]
  })
})

test('a second process on the same data directory, or a foreign database file, stops the start with a clear message', async (t) => {
  const service = await startService(t)
  const second = await runService([], serviceEnv(service.dataDir))
  t.equal(second.code, 1)
  t.match(second.stderr, /another process/i)
  t.equal(second.stderr.trim().split('\n').length, 1)
  const dataDir = tempDir(t)
  writeFileSync(
    path.join(dataDir, 'bellwire.db'),
    'this is not a database, it is a letter to my aunt '.repeat(100)
  )
  const foreign = await runService([], serviceEnv(dataDir))
  t.equal(foreign.code, 1)
  t.match(foreign.stderr, /bellwire\.db/)
})

test('a DATA_DIR that cannot be created stops the start with a one-line message', async (t) => {
  // /proc exists, but no directory can be created in it.
  for (const dataDir of ['/proc/nope', '/proc/nope/deeper']) {
    const { code, stderr } = await runService([], serviceEnv(dataDir))
    t.equal(code, 1)
    t.match(
      stderr,
      /^bellwire: \/proc\/nope.*: cannot be created .*set DATA_DIR to a directory that is writable\n$/
    )
  }
})

test('a port in use stops the start and says what to do', async (t) => {
  const service = await startService(t)
  const { port } = new URL(service.url)
  const second = await runService(['--port', port], serviceEnv(tempDir(t)))
  t.match(second, { code: 1, stderr: /taken.*--port/ })
})

test('no secret reaches a log line', async (t) => {
  const service = await startService(t, { env: { LOG_LEVEL: 'trace' } })
  const token = tokenOf('u1')
  const { body } = await call('POST', `${service.url}/v1/tickets`, {
    key: PUBLISH_KEY,
    body: { user: 'u1' }
  })
  const stream = await openStream(t, `${service.url}/v1/stream?ticket=${body.ticket}`)
  await stream.until((f) => f.event === 'ready')
  await publish(service, { to: { user: 'u1' }, title: 'strictly-private-content' })
  await stream.until((f) => f.event === 'notification')
  await call('GET', `${service.url}/v1/inbox`, { headers: { cookie: `session=${token}` } })
  await call('GET', `${service.url}/v1/inbox`, { key: `${token}x` })
  await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })
  await call('GET', `${service.url}/nowhere?ticket=${body.ticket}`)
  await call('POST', `${service.url}/v1/notifications`, {
    key: `${PUBLISH_KEY}-wrong`,
    body: '{"strictly-private-content"'
  })
  stream.close()
  await service.kill('SIGTERM')
  for (const secret of [
    token,
    body.ticket,
    PUBLISH_KEY,
    MONITOR_KEY,
    SECRET,
    'strictly-private-content'
  ])
    t.notOk(service.output().includes(secret), 'not in the log')
  t.match(service.output(), /listening/)
})

test('Node flags that only a process accepts do not stop the writer thread', async (t) => {
  const flags = [
    '--expose-gc',
    '--max-old-space-size=256',
    '--title=notifications',
    '--enable-source-maps'
  ]
  const service = await startService(t, { flags })
  t.equal((await publish(service, { to: { user: 'u1' }, title: 'durable' })).status, 201)
})
