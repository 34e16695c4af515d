import { readdirSync, readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { test } from 'tap'
import { startService } from '../service/harness.ts'

test('/client.js is one small script, cached, and in the packing that is asked for', async (t) => {
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
  t.not(plainTag, packedTag, 'two representations, two tags')
  for (const known of [packedTag, `"other", W/${packedTag}`, '*']) {
    const again = await fetch(url, { headers: { 'accept-encoding': 'gzip', 'if-none-match': known } })
    t.equal(again.status, 304)
    t.equal(await again.text(), '')
  }
  t.equal((await fetch(url, { headers: { 'accept-encoding': 'gzip', 'if-none-match': plainTag } })).status, 200)
  const scope: { Bellwire?: { createInbox: unknown } } = {}
  new Function('globalThis', script)(scope)
  t.type(scope.Bellwire?.createInbox, 'function', 'one global, and nothing happens before it is called')
})

test('the package has the SDK as modules with types, and they need nothing but themselves and React', async (t) => {
  const names: [string, string[]][] = [
    ['bellwire/client', ['BellwireError', 'createInbox']],
    ['bellwire/react', ['useInbox', 'useUnread']]
  ]
  for (const [name, exports] of names) t.same(Object.keys(await import(name)), exports)
  const strangers = readdirSync('dist/client')
    .filter((file) => /\.(js|d\.ts)$/.test(file))
    .flatMap((file) =>
      [...readFileSync(`dist/client/${file}`, 'utf8').matchAll(/from ['"]([^'"]+)['"]/g)].map(([, from]) => `${file}: ${from}`)
    )
    .filter((found) => !/: \.\/[\w-]+\.(js|ts)$/.test(found))
  t.same(strangers, ['react.js: react'])
})
