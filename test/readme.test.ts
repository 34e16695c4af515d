import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Test, test } from 'tap'
import { launchChromium, noChromium } from './fixtures/chromium.ts'
import { eventually } from './fixtures/eventually.ts'
import { freePort } from './fixtures/free-port.ts'
import { blocksOf, PAGES, page } from './fixtures/pages.ts'
import { tempDir } from './fixtures/temp-dir.ts'
import { call, type Service, startService } from './service/harness.ts'
import { skipOwnServer } from './stores/redis-server.ts'

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

/** A folder from which `node dist/main.js` works, and where commands may write files. */
function cloneOf(t: Test): string {
  const dir = tempDir(t)
  symlinkSync(path.resolve('dist'), path.join(dir, 'dist'))
  writeFileSync(path.join(dir, '.curlrc'), 'silent\nshow-error\nfail-with-body\n')
  return dir
}

/** Runs a block as it stands; curl fails if the response is an error. */
function run(t: Test, script: string, cwd: string, env: Record<string, string> = {}): Shell {
  const child = spawn('bash', ['-euo', 'pipefail', '-c', script], {
    cwd,
    env: { PATH: process.env['PATH'] ?? '', CURL_HOME: cwd, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk
    })
  }
  const ended = once(child, 'close').then(([code]) => code as number | null)
  t.teardown(async () => {
    try {
      // The whole group: the shell waits for its curl, or leaves servers behind.
      process.kill(-child.pid!, 'SIGKILL')
    } catch {
      // The group has ended.
    }
    await ended
  })
  return { child, output: () => output, ended }
}

const shows = (shell: Shell, text: string): Promise<void> =>
  eventually(() => shell.output().includes(text), 60_000)

/** Runs every `sh` block of a page against a service, in order. Returns the shells of its streams. */
async function runBlocks(t: Test, blocks: readonly string[], service: Service): Promise<Shell[]> {
  const cwd = cloneOf(t)
  const streams: Shell[] = []
  for (const block of blocks) {
    const script = block.replaceAll('http://127.0.0.1:3000', service.url)
    const shell = run(t, script, cwd, { DATA_DIR: service.dataDir })
    const first = block.trim().split('\n')[0]!
    if (block.includes('curl -N')) {
      streams.push(shell)
      await shows(shell, 'event: ready')
      t.pass(`${first} streams`)
    } else t.equal(await shell.ended, 0, first, { output: shell.output() })
  }
  return streams
}

const CLUSTER = 'src/cluster/README.md'

test('every command of the pages runs as it stands', async (t) => {
  const service = await startService(t, { env: DEVELOPMENT })
  for (const [file, text] of PAGES) {
    const blocks = blocksOf(text, 'sh')
    if (blocks.length === 0 || file === CLUSTER) continue
    await t.test(file, async (t) => {
      const streams = await runBlocks(t, blocks, service)
      if (file !== 'README.md') return
      await shows(streams[0]!, '"title":"Hello, Alice"')
      t.pass('the first terminal shows what the second published')
    })
  }

  await t.test('the table of endpoints is that of the OpenAPI document', async (t) => {
    const { paths } = (await (await fetch(`${service.url}/documentation/json`)).json()) as {
      paths: Record<string, Record<string, unknown>>
    }
    for (const [name, methods] of Object.entries(paths)) {
      for (const method of Object.keys(methods))
        t.ok(
          page('src/plugins/README.md').includes(`\`${method.toUpperCase()} ${name}`),
          `${method.toUpperCase()} ${name}`
        )
    }
  })

  await t.test('the table of metrics has every metric, and no other', async (t) => {
    const { text } = await call('GET', `${service.url}/metrics`, { key: 'dev-monitor-key' })
    const names = [...text.matchAll(/^# TYPE (bellwire_\w+)/gm)].map(([, name]) => name!)
    t.ok(names.length > 20)
    const rows = page('src/monitoring/README.md')
      .split('\n')
      .filter((line) => line.startsWith('| `bellwire_'))
      .flatMap((line) => [...line.matchAll(/`(bellwire_\w+)`/g)].map(([, name]) => name!))
    t.same(rows.sort(), names.sort())
  })
})

test('the commands for two nodes run as they stand, and a notification reaches the other node', {
  skip: skipOwnServer
}, async (t) => {
  const [start, subscribe, send, ...others] = blocksOf(page(CLUSTER), 'sh')
  t.same(others, [])
  const ports = new Map<string, number>()
  for (const port of ['6390', '3001', '3002']) ports.set(port, await freePort())
  const here = (block: string): string =>
    block.replace(/6390|3001|3002/g, (port) => String(ports.get(port)))
  const cwd = cloneOf(t)
  run(t, here(start!), cwd, { DATA_DIR: cwd })
  for (const port of ['3001', '3002'])
    await eventually(
      () =>
        fetch(`http://127.0.0.1:${ports.get(port)}/readyz`).then(
          ({ ok }) => ok,
          () => false
        ),
      60_000
    )
  const stream = run(t, here(subscribe!), cwd)
  await shows(stream, 'event: ready')
  t.equal(await run(t, here(send!), cwd).ended, 0)
  await shows(stream, '"title":"From the other node"')
})

test('the app of ten lines in README.md shows a notification', {
  skip: noChromium
}, async (t) => {
  const [app] = blocksOf(page('README.md'), 'js')
  t.ok(app!.trim().split('\n').length <= 12)
  const port = await freePort()
  const origin = `http://127.0.0.1:${port}`
  const service = await startService(t, { env: { ...DEVELOPMENT, CORS_ORIGINS: origin } })
  const code = app!
    .replaceAll('http://127.0.0.1:3000', service.url)
    .replaceAll('4000', String(port))
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: 'inherit' })
  t.teardown(() => child.kill())
  await eventually(() =>
    fetch(origin).then(
      ({ ok }) => ok,
      () => false
    )
  )
  const browser = await launchChromium(t)
  const tab = await browser.newPage()
  await tab.goto(origin)
  await call('POST', `${service.url}/v1/notifications`, {
    key: 'dev-publish-key',
    body: { to: { user: 'alice' }, type: 'hello', title: 'Hello, Alice' }
  })
  await tab.getByText('Hello, Alice').waitFor()
  t.pass('shown')
})
