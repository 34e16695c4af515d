import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { connect as connectTls } from 'node:tls'
import type { Page } from 'playwright-core'
import { test } from 'tap'
import { launchChromium, noChromium } from '../fixtures/chromium.ts'
import { eventually } from '../fixtures/eventually.ts'
import { freePort } from '../fixtures/free-port.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import {
  connectionsOf,
  MONITOR_KEY,
  publish,
  rawPeer,
  requestHead,
  type Service,
  startService,
  tokenOf
} from './harness.ts'

interface Teardown {
  teardown(fn: () => unknown): void
}

const nginx = ['/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/sbin/nginx'].find((file) =>
  existsSync(file)
)
const skip = nginx ? noChromium : 'nginx not found: apt-get install nginx-light'

/** Runs nginx with docker/nginx.conf; only ports, paths and the upstream address are changed. */
async function startNginx(
  t: Teardown,
  service: Service,
  edit = (conf: string): string => conf
): Promise<{ http: string; https: string }> {
  const dir = tempDir(t)
  const made = spawnSync('sh', ['docker/make-secrets.sh', dir], { encoding: 'utf8' })
  if (made.status !== 0) throw new Error(made.stderr)
  const [plain, tls] = [await freePort(), await freePort()]
  const places: readonly [from: RegExp, to: string][] = [
    [/worker_processes auto;/, 'worker_processes 1;'],
    [/worker_rlimit_nofile \d+;/, ''],
    [/worker_connections \d+;/, 'worker_connections 256;'],
    [
      /http \{/,
      `http { client_body_temp_path ${dir}/b; proxy_temp_path ${dir}/p; fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;`
    ],
    [/listen 8080;/, `listen 127.0.0.1:${plain};`],
    [/listen 8443 /, `listen 127.0.0.1:${tls} `],
    [/\/run\/secrets\//g, `${dir}/`],
    [/set \$bellwire bellwire:3000;/, `set $bellwire ${new URL(service.url).host};`]
  ]
  let conf = edit(readFileSync('docker/nginx.conf', 'utf8'))
  for (const [from, to] of places) {
    if (conf.search(from) < 0) throw new Error(`docker/nginx.conf has no ${from}`)
    conf = conf.replace(from, to)
  }
  const file = path.join(dir, 'nginx.conf')
  writeFileSync(file, conf)
  const args = [
    '-c',
    file,
    '-p',
    dir,
    '-e',
    path.join(dir, 'error.log'),
    '-g',
    `daemon off; pid ${dir}/pid;`
  ]
  const checked = spawnSync(nginx!, ['-t', ...args], { encoding: 'utf8' })
  if (checked.status !== 0) throw new Error(checked.stderr)
  const child = spawn(nginx!, args, { stdio: 'ignore' })
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGTERM')
    await exited
  })
  const http = `http://127.0.0.1:${plain}`
  await eventually(() =>
    fetch(`${http}/nginx-healthz`).then(
      ({ status }) => status === 204,
      () => false
    )
  )
  return { http, https: `https://localhost:${tls}` }
}

/** A page with an ordinary EventSource that records its events. */
const LISTENER = `
  window.heard = []; window.states = []; window.source = new EventSource('/v1/stream')
  const note = (name) => source.addEventListener(name, ({ data, lastEventId }) => heard.push({ name, id: lastEventId, data: JSON.parse(data) }))
  for (const name of ['ready', 'reset', 'notification', 'goodbye']) note(name)
  source.onerror = () => states.push(source.readyState)`

interface Heard {
  readonly name: string
  readonly id: string
  readonly data: {
    readonly reason?: string
    readonly resumed?: boolean
    readonly item?: { readonly title: string }
  }
}
const heardBy = (page: Page): Promise<Heard[]> => page.evaluate('heard')
const titlesOf = (heard: readonly Heard[]): (string | undefined)[] =>
  heard.filter(({ name }) => name === 'notification').map(({ data }) => data.item?.title)

test('behind docker/nginx.conf a page survives a service outage and misses nothing', {
  skip,
  timeout: 240_000
}, async (t) => {
  const env = { PORT: String(await freePort()), TRUST_PROXY: '1' }
  const service = await startService(t, { env })
  const { http, https } = await startNginx(t, service)
  const browser = await launchChromium(t)
  const context = await browser.newContext({
    ignoreHTTPSErrors: true,
    httpCredentials: { username: 'me', password: MONITOR_KEY, send: 'unauthorized' }
  })
  await context.addCookies([
    { name: 'session', value: tokenOf('ann', ['news']), url: https, secure: true, httpOnly: true }
  ])
  await context.route('**/page', (route) =>
    route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>page</title>' })
  )
  const page = await context.newPage()
  page.setDefaultTimeout(60_000)
  const answers: string[] = []
  page.on('response', (response) =>
    answers.push(`${response.status()} ${response.headers()['content-type']}`)
  )
  await page.goto(`${https}/page`)
  answers.length = 0
  await page.evaluate(LISTENER)
  await page.waitForFunction("heard.some(({ name }) => name === 'ready')")
  const tls = connectTls(Number(new URL(https).port), '127.0.0.1', {
    ALPNProtocols: ['h2', 'http/1.1'],
    rejectUnauthorized: false
  })
  await once(tls, 'secureConnect')
  t.equal(tls.alpnProtocol, 'h2', 'many tabs share one connection')
  tls.destroy()
  const dashboard = await context.newPage()
  await dashboard.goto(`${https}/monitor`)
  await dashboard.locator('body[data-feed=live]').waitFor()

  const sent: string[] = []
  const say = async (title: string): Promise<void> => {
    sent.push(title)
    t.equal((await publish({ url: http }, { to: { topic: 'news' }, title })).status, 201)
  }
  for (let n = 0; n < 5; n++) await say(`before ${n}`)
  await page.waitForFunction("heard.filter(({ name }) => name === 'notification').length === 5")
  t.equal((await connectionsOf(service)).active, 1)

  await service.kill('SIGKILL')
  const away = performance.now()
  await page.waitForFunction(
    "heard.some(({ name, data }) => name === 'goodbye' && data.reason === 'unavailable')"
  )
  await dashboard.locator('body[data-feed=cut]').waitFor()
  await eventually(() => performance.now() - away > 6000, 60_000)
  t.ok(
    answers.every(
      (answer) =>
        answer === '200 text/event-stream; charset=utf-8' ||
        answer.startsWith('200 application/json')
    ),
    `no answer that ends an EventSource for good: ${answers}`
  )
  const again = await startService(t, { env, dataDir: service.dataDir })
  for (let n = 0; n < 5; n++) await say(`after ${n}`)
  await page.waitForFunction("heard.filter(({ name }) => name === 'notification').length >= 10")
  await say('last')
  await page.waitForFunction("heard.some(({ data }) => data.item && data.item.title === 'last')")

  const heard = await heardBy(page)
  t.strictSame(titlesOf(heard), sent, 'each once, in order')
  t.match(
    heard
      .filter(({ name }) => name === 'ready' || name === 'reset')
      .map(({ name, data }) => `${name} ${data.resumed}`),
    ['ready false', 'ready true']
  )
  t.ok(
    (await page.evaluate<number[]>('states')).every((state) => state === 0),
    'it was connecting, never closed'
  )
  t.equal((await connectionsOf(again)).active, 1)
  await dashboard.locator('body[data-feed=live]').waitFor()
})

test('docker/nginx.conf lets a same-origin WebSocket with a cookie through, and no other upgrade', {
  skip,
  timeout: 180_000
}, async (t) => {
  const service = await startService(t, { env: { TRUST_PROXY: '1' } })
  const { http, https } = await startNginx(t, service)
  const browser = await launchChromium(t)
  const context = await browser.newContext({ ignoreHTTPSErrors: true, bypassCSP: true })
  await context.addCookies([
    { name: 'session', value: tokenOf('ann'), url: https, secure: true, httpOnly: true }
  ])
  const page = await context.newPage()
  // A same-origin page without the CSP of JSON answers, which would block the script below.
  await page.goto(`${https}/healthz`)
  await page.evaluate(`
    window.heard = []; window.socket = new WebSocket(location.origin.replace('http', 'ws') + '/v1/socket')
    socket.onmessage = ({ data }) => heard.push(JSON.parse(data).event)
    socket.onclose = ({ code }) => heard.push(code)`)
  await page.waitForFunction("heard.includes('ready')")
  t.equal((await connectionsOf(service)).byTransport.websocket, 1)
  await publish(service, { to: { user: 'ann' } })
  await page.waitForFunction("heard.includes('notification')")
  const peer = await rawPeer(
    t,
    { url: http },
    requestHead('/healthz', undefined, ['connection: Upgrade', 'upgrade: h2c'])
  )
  await peer.until(/^HTTP\/1\.1 200 /)
  await service.kill('SIGTERM')
  await page.waitForFunction("typeof heard.at(-1) === 'number'")
  t.same(await page.evaluate('heard'), ['ready', 'notification', 'goodbye', 1001])
})

/** Enables the commented operator `location` for addresses other than this machine's. */
function withGuard(conf: string): string {
  const block = /^ +# location ~ \^\/\(monitor\|metrics\)[^}]*\}$/m
  return conf.replace(block, (lines) =>
    lines.replace(/^( +)# /gm, '$1').replace('allow 127.0.0.1;', '')
  )
}

test('the commented location of the nginx files restricts operator routes to private addresses', {
  skip: nginx ? false : skip
}, async (t) => {
  const service = await startService(t, { env: { STORE: 'memory' } })
  const { http } = await startNginx(t, service, withGuard)
  const headers = { authorization: `Bearer ${MONITOR_KEY}` }
  for (const path of ['/monitor', '/monitor/stream', '/metrics'])
    t.equal((await fetch(`${http}${path}`, { headers })).status, 403, path)
  t.equal((await fetch(`${http}/readyz`)).status, 200)
  t.equal(
    (await fetch(`${http}/v1/users/monitor/connections`, { method: 'DELETE' })).status,
    401,
    'a user of that name'
  )
  const scale = readFileSync('docker/nginx.scale.conf', 'utf8')
  t.not(withGuard(scale), scale, 'the other file holds it as well')
})
