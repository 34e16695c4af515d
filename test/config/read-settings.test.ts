import { chmodSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'tap'
import { loadConfig, SETTINGS } from '../../src/config/config.ts'
import { faultsOf, oneFault, PRODUCTION } from './faults.ts'

test('an empty value counts as unset', async (t) => {
  t.equal(loadConfig({ PORT: '', HOST: ' ', PUBLISH_KEYS: '' }).port, 3000)
  t.match(faultsOf({ ...PRODUCTION, MONITOR_KEYS: '' }), [/^MONITOR_KEYS is required/])
})

test('options of the command line win over the environment, and faults name the option', async (t) => {
  t.match(loadConfig({ PORT: '1', HOST: 'a' }, { port: '0', host: '::1' }), {
    port: 0,
    host: '::1'
  })
  t.match(faultsOf({}, { port: 'x', host: 'http://a' }), [/^--host /, /^--port /])
})

test('every secret can come from a file', async (t) => {
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

test('every setting drops white space around its value and refuses quotes around it', async (t) => {
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
      faults.some((line) => line.startsWith(`${name} has quotes around its value`)),
      name
    )
  for (const quoted of ["'0'", '`0`', '""', ' "0"\n'])
    oneFault(t, { PORT: quoted }, /^PORT has quotes around its value/)
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
    /^COOKIE_SECRET has quotes around its value/
  )
  oneFault(
    t,
    { COOKIE_SECRET_FILE: `"${path.join(dir, 'padded')}"` },
    /^COOKIE_SECRET_FILE has quotes around its value/
  )
})

test('no error shows a secret', async (t) => {
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
