import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'tap'
import { SETTINGS } from '../src/config/config.ts'
import { RULES } from '../src/monitoring/health-rules.ts'
import { tempDir } from './fixtures/temp-dir.ts'
import { call, MONITOR_KEY, type Service, startService } from './service/harness.ts'

const README = readFileSync('README.md', 'utf8')
const blocks = (language: string): string[] =>
  [...README.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
    (match) => match[1]!
  )

/** A service as `npm start` starts it, but for its port and its data. */
const DEVELOPMENT = {
  NODE_ENV: 'development',
  PUBLISH_KEYS: '',
  MONITOR_KEYS: '',
  AUTH_JWT_SECRET: ''
}

interface Shell {
  readonly child: ChildProcess
  readonly output: () => string
  readonly ended: Promise<number | null>
}

/** Runs a block as it stands, against another port; curl fails where the answer is an error. */
function run(block: string, service: Service, curlHome: string): Shell {
  const script = block.replaceAll('http://127.0.0.1:3000', service.url)
  const child = spawn('bash', ['-euo', 'pipefail', '-c', script], {
    env: { PATH: process.env['PATH'] ?? '', CURL_HOME: curlHome },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk
    })
  }
  return {
    child,
    output: () => output,
    ended: once(child, 'close').then(([code]) => code as number | null)
  }
}

async function until(shell: Shell, text: string): Promise<void> {
  for (const deadline = Date.now() + 20_000; !shell.output().includes(text); ) {
    if (Date.now() > deadline || shell.child.exitCode !== null)
      throw new Error(`no ${text} in: ${shell.output()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

test('every command of the README runs as it stands', async (t) => {
  const service = await startService(t, { env: DEVELOPMENT })
  const curlHome = tempDir(t)
  writeFileSync(path.join(curlHome, '.curlrc'), 'silent\nshow-error\nfail-with-body\n')
  const streams: Shell[] = []
  t.teardown(async () => {
    for (const { child, ended } of streams) {
      // The whole group: the shell waits for its curl.
      if (child.exitCode === null) process.kill(-child.pid!, 'SIGKILL')
      await ended
    }
  })
  const commands = blocks('sh')
  t.ok(commands.length >= 10)
  for (const block of commands) {
    const shell = run(block, service, curlHome)
    const first = block.trim().split('\n')[0]!
    if (block.includes('curl -N')) {
      streams.push(shell)
      await until(shell, 'event: ready')
      t.pass(`${first} streams`)
    } else t.equal(await shell.ended, 0, first, { output: shell.output() })
  }
  await until(streams[0]!, '"title":"Hello, Alice"')
  t.pass('what was published is what the first terminal shows')
})

test('the README names every endpoint of the OpenAPI document', async (t) => {
  const service = await startService(t, { env: DEVELOPMENT })
  const { paths } = (await (await fetch(`${service.url}/documentation/json`)).json()) as {
    paths: Record<string, Record<string, unknown>>
  }
  for (const [name, methods] of Object.entries(paths)) {
    for (const method of Object.keys(methods))
      t.ok(README.includes(`\`${method.toUpperCase()} ${name}`), `${method.toUpperCase()} ${name}`)
  }
})

test('the README names the commands of the first minute', async (t) => {
  t.match(README, 'npm ci && npm start')
  t.match(README, 'npm ci && npm test')
})

test('the README lists every setting with its default', async (t) => {
  for (const { name, default: fallback } of SETTINGS) {
    const row = README.split('\n').find(
      (line) => line.startsWith('|') && line.split('|')[1]!.includes(`\`${name}\``)
    )
    t.ok(row, name)
    if (fallback) t.match(row, fallback, `${name} defaults to ${fallback}`)
  }
})

test('the README lists every rule of health with its severity, and every metric', async (t) => {
  for (const { code, severity } of RULES)
    t.match(README, new RegExp(`^\\| \`${code}\` \\| ${severity} \\|`, 'm'), code)
  const service = await startService(t)
  const { text } = await call('GET', `${service.url}/metrics`, { key: MONITOR_KEY })
  const names = [...text.matchAll(/^# TYPE (bellwire_\w+)/gm)].map(([, name]) => name!)
  t.ok(names.length > 20)
  for (const name of names) t.ok(README.includes(`\`${name}\``), name)
})

test('the README explains every warning of a store', async (t) => {
  const files = readdirSync('src/stores', { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts')
  )
  const codes = files.flatMap((file) =>
    [
      ...readFileSync(path.join('src/stores', file), 'utf8').matchAll(
        /\bcode: '([a-z]+(?:-[a-z]+)+)'/g
      )
    ].map(([, code]) => code!)
  )
  t.ok(codes.length >= 4)
  for (const code of codes) t.match(README, new RegExp(`^\\| \`${code}\` \\| `, 'm'), code)
})

test('every link of the README leads somewhere, and every example is JSON', async (t) => {
  const anchors = new Set(
    [...README.matchAll(/^#+ (.+)$/gm)].map((match) =>
      match[1]!
        .toLowerCase()
        .replace(/[^\w -]/g, '')
        .replaceAll(' ', '-')
    )
  )
  for (const [, target = ''] of README.matchAll(/\]\(([^)]+)\)/g)) {
    t.ok(target!.startsWith('#') ? anchors.has(target!.slice(1)) : existsSync(target!), target)
  }
  const frames = blocks('text').flatMap((block) =>
    block.split('\n').filter((line) => line.startsWith('data: '))
  )
  for (const json of [...blocks('json'), ...frames.map((line) => line.slice(6))])
    t.doesNotThrow(() => JSON.parse(json))
  for (const name of ['ready', 'notification', 'state', 'reset', 'heartbeat', 'goodbye']) {
    t.ok(README.includes(`\nevent: ${name}\n`), `a real ${name}`)
  }
})
