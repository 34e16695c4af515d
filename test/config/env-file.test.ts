import { test } from 'tap'
import { readEnvironment, SETTINGS } from '../../src/config/config.ts'
import { readEnvFile, withEnvFile } from '../../src/config/env-file.ts'

const NAMES = SETTINGS.flatMap(({ name }) => [name, `${name}_FILE`])

test('the environment wins over the file .env, also for a secret given as a file', async (t) => {
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

test('a clone reads its .env whatever the working directory is; an installed package reads none', async (t) => {
  const dir = t.testdir({
    '.env': 'STALL_MS=1234',
    node_modules: { bellwire: { '.env': 'STALL_MS=1234' } }
  })
  t.match(readEnvironment(dir), { env: { STALL_MS: '1234' }, file: `${dir}/.env` })
  const installed = readEnvironment(`${dir}/node_modules/bellwire/`)
  t.strictSame([installed.env['STALL_MS'], installed.file], [undefined, undefined])
})

test('a malformed line of .env is reported by its number, without its value', async (t) => {
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
