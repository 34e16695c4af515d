import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { test } from 'tap'
import { EMPTY } from '../../src/client/empty-inbox.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import { connectionsOf, startService, tokenOf } from '../service/harness.ts'

test('/client.js is one small cached script, in the content coding that the client accepts', async (t) => {
  const service = await startService(t, { env: { BASE_PATH: '/notify' } })
  const url = `${service.url}/notify/client.js`
  const plain = await fetch(url, { headers: { 'accept-encoding': 'identity' } })
  const script = await plain.text()
  t.equal(plain.status, 200)
  t.match(plain.headers.get('content-type'), /^text\/javascript/)
  t.match(plain.headers.get('cache-control'), /public, max-age=\d+/)
  t.equal(plain.headers.get('vary'), 'Accept-Encoding')
  t.equal(plain.headers.get('content-encoding'), null)
  const size = gzipSync(script, { level: 9 }).length
  t.ok(size <= 6.5 * 1024, `${size} bytes`)

  const packed = await fetch(url, { headers: { 'accept-encoding': 'gzip' } })
  t.equal(packed.headers.get('content-encoding'), 'gzip')
  t.equal(await packed.text(), script)
  const [plainTag, packedTag] = [plain.headers.get('etag')!, packed.headers.get('etag')!]
  t.not(plainTag, packedTag, 'each representation has its own tag')
  for (const known of [packedTag, `"other", W/${packedTag}`, '*']) {
    const again = await fetch(url, {
      headers: { 'accept-encoding': 'gzip', 'if-none-match': known }
    })
    t.equal(again.status, 304)
    t.equal(await again.text(), '')
  }
  t.equal(
    (await fetch(url, { headers: { 'accept-encoding': 'gzip', 'if-none-match': plainTag } }))
      .status,
    200
  )
  const scope: { Bellwire?: { createInbox: unknown } } = {}
  new Function('globalThis', script)(scope)
  t.type(
    scope.Bellwire?.createInbox,
    'function',
    'it defines one global, and does nothing until that is called'
  )
})

test('the package exports the SDK as typed modules, which depend on nothing but React', async (t) => {
  const names: [string, string[]][] = [
    ['bellwire/client', ['BellwireError', 'createInbox']],
    ['bellwire/react', ['useInbox', 'useUnread']]
  ]
  const require = createRequire(import.meta.url)
  for (const [name, exports] of names) {
    t.same(Object.keys(await import(name)), exports)
    t.same(
      Object.keys(require(name)).filter((key) => key !== '__esModule'),
      exports,
      'require works as well'
    )
  }
  const strangers = readdirSync('dist/client')
    .filter((file) => /\.(js|d\.ts)$/.test(file))
    .flatMap((file) =>
      [...readFileSync(`dist/client/${file}`, 'utf8').matchAll(/from ['"]([^'"]+)['"]/g)].map(
        ([, from]) => `${file}: ${from}`
      )
    )
    .filter((found) => !/: \.\/[\w-]+\.(js|ts)$/.test(found))
  t.same(strangers, ['react.js: react'])
})

test('a strict project that checks its libraries compiles with the SDK, as modules and as CommonJS', async (t) => {
  const dir = tempDir(t)
  mkdirSync(path.join(dir, 'node_modules'))
  symlinkSync(process.cwd(), path.join(dir, 'node_modules/bellwire'))
  const source = `
    import { BellwireError, createInbox, type Inbox } from 'bellwire/client'
    import { useInbox, useUnread } from 'bellwire/react'
    const inbox: Inbox = createInbox({ url: '/notify', token: async () => 'a' })
    inbox.on('notification', ({ item }) => item.title?.trim())
    export const shown = (): string => \`\${useUnread(inbox)} of \${useInbox(inbox).items.length}\`
    export const code = (error: unknown): string | null => (error instanceof BellwireError ? error.code : null)
    inbox.close({ forget: true })
  `
  for (const name of ['module.mts', 'common.cts']) writeFileSync(path.join(dir, name), source)
  const compilerOptions = {
    strict: true,
    module: 'nodenext',
    target: 'es2022',
    types: [],
    noEmit: true,
    skipLibCheck: false
  }
  writeFileSync(path.join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions }))
  // The runner's loaders, which a child process would inherit, cannot load the compiler.
  const compiler = ['NODE_OPTIONS=', process.execPath, 'node_modules/typescript/bin/tsc']
  const { status, stdout, stderr } = spawnSync('env', [...compiler, '-p', dir], {
    encoding: 'utf8'
  })
  t.equal(status, 0, stdout + stderr)
})

test('createInbox outside a page opens no connection, and does not keep the process alive', async (t) => {
  const service = await startService(t)
  const program = `
    const { createInbox } = require('bellwire/client')
    const inboxes = [createInbox(), createInbox({ url: '/notify' }), createInbox({ url: '${service.url}', token: '${tokenOf('u1')}' })]
    const told = (error) => error.code
    Promise.all(inboxes.map(async (inbox) => [inbox.state, await inbox.read('a').catch(told), await inbox.loadMore()])).then((all) => console.log(JSON.stringify(all)))
    globalThis.window = {}
    try { createInbox({ url: 'http://a b' }) } catch (error) { console.log(error.message) }
  `
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--no-warnings', '-e', program], {
    encoding: 'utf8',
    timeout: 120_000
  })
  t.equal(status, 0, stderr)
  const [message, all] = stdout.trim().split('\n')
  t.equal(message, 'not a URL: http://a b')
  for (const [state, code, more] of JSON.parse(all!))
    t.same([state, code, more], [EMPTY, 'closed', false])
  t.same((await connectionsOf(service)).opened, 0)
})
