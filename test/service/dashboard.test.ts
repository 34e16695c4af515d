import type { BrowserContextOptions, Page } from 'playwright-core'
import tap, { test } from 'tap'
import { launchChromium, noChromium } from '../fixtures/chromium.ts'
import { eventually } from '../fixtures/eventually.ts'
import { freePort } from '../fixtures/free-port.ts'
import { skipOwnServer, startRedis } from '../stores/redis-server.ts'
import {
  call,
  connectionsOf,
  MONITOR_KEY,
  openStream,
  publish,
  startService,
  tokenOf
} from './harness.ts'

const skip = noChromium
// One browser for all tests, each in its own profile: starting one takes longer than most tests.
const browser = skip ? (undefined as never) : await launchChromium(tap)
// For tests that leave it as it was.
const service = await startService(tap, { env: { STORE: 'memory' } })
const httpCredentials = { username: 'anyone', password: MONITOR_KEY }

/**
 * Opens the dashboard in its own tab, waits until it shows figures, and collects its console
 * errors.
 */
async function openDashboard(
  t: { teardown(fn: () => unknown): void },
  url: string,
  options: BrowserContextOptions = {}
) {
  const context = await browser.newContext({ httpCredentials, ...options })
  t.teardown(() => context.close())
  const page = await context.newPage()
  page.setDefaultTimeout(60_000)
  const complaints: string[] = []
  const asked: string[] = []
  page.on(
    'console',
    (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text())
  )
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('request', (request) => asked.push(request.url()))
  await page.goto(`${url}/monitor`)
  await page.locator('body[data-feed=live]').waitFor()
  return { page, complaints, asked }
}

/** The figure a tile shows. */
const figure = (page: Page, title: string) =>
  page
    .locator('.tile')
    .filter({ has: page.getByRole('heading', { name: title, exact: true }) })
    .locator('.figure')
const STATUSES: Record<string, string> = {
  ok: 'Healthy',
  degraded: 'Degraded',
  critical: 'Critical'
}
/**
 * Waits until the page shows the status that the service reports, which is not `ok` on a busy
 * machine.
 */
const told = (page: Page, url: string) =>
  eventually(async () => {
    const { status } = (await call('GET', `${url}/monitor`, { key: MONITOR_KEY })).body
    return (await page.locator('#status-text').textContent()) === STATUSES[status]
  })
const rows = (page: Page) => page.locator('#connections tr')

test('the browser asks for the operator key, and without it the dashboard stays hidden', {
  skip
}, async (t) => {
  const ask = async (password: string | undefined): Promise<number> => {
    const context = await browser.newContext(
      password === undefined ? {} : { httpCredentials: { username: 'me', password } }
    )
    const answer = await (await context.newPage())
      .goto(`${service.url}/monitor`)
      .finally(() => context.close())
    return answer!.status()
  }
  // A browser that was asked for credentials and has none to send.
  await t.rejects(ask(undefined), /ERR_INVALID_AUTH_CREDENTIALS/)
  t.equal(await ask('wrong'), 401)
  t.equal(await ask(MONITOR_KEY), 200)
})

test('the dashboard shows status, actions and since when, and a stream can be closed by keyboard', {
  skip
}, async (t) => {
  // Nothing listens at the session lookup's address, so every request with a cookie causes an
  // error.
  const service = await startService(t, {
    env: { MAX_CONNECTIONS: '4', AUTH_SESSION_URL: `http://127.0.0.1:${await freePort()}/` }
  })
  const ann = await openStream(t, `${service.url}/v1/stream`, { token: tokenOf('ann', ['news']) })
  const bob = await openStream(t, `${service.url}/v1/stream`, { token: tokenOf('bob', ['news']) })
  for (const stream of [ann, bob]) await stream.until((frame) => frame.event === 'ready')
  await publish(service, { to: { topic: 'news' }, title: 'A secret title' })
  const { page, complaints, asked } = await openDashboard(t, service.url)

  t.equal(await page.getByRole('banner').locator('#status-text').count(), 1)
  await told(page, service.url)
  await figure(page, 'Open streams').getByText('2', { exact: true }).waitFor()
  await figure(page, 'Users').getByText('2', { exact: true }).waitFor()
  await page.getByText('1 stream each', { exact: true }).waitFor()
  t.notOk(await page.getByText('this node').first().isVisible(), 'there is no other')
  t.match(
    await page.getByRole('img', { name: /^Open streams, chart: .*now 2$/ }).count(),
    1,
    'a chart says what it shows'
  )
  t.equal(
    await page.locator('.chart canvas').count(),
    9,
    'an hour for each figure, and for the lag'
  )
  for (const name of [
    'What to do',
    'Errors by code',
    'Why streams closed',
    'Connections',
    'Heartbeats',
    'Store',
    'Process'
  ])
    t.equal(await page.getByRole('heading', { name, exact: true }).count(), 1, name)
  for (const fact of ['Kindsqlite', 'Statehealthy', 'Interval15 s'])
    await page.locator('dl > div', { hasText: fact }).waitFor()

  // The table of errors shows first time, last time and message.
  for (let n = 0; n < 2; n++)
    await call('GET', `${service.url}/v1/inbox`, { headers: { cookie: 'session=x' } })
  const error = page.getByRole('row', { name: /^unavailable 2 \d\d:\d\d:\d\d \d\d:\d\d:\d\d \S/ })
  await error.waitFor()
  t.ok(
    Date.parse((await error.locator('time').first().getAttribute('datetime'))!) >
      Date.now() - 60_000
  )
  await page.getByText('Latest errors').click()
  await page.locator('#recent li').first().waitFor()

  // Two more streams reach the limit: the status changes, is announced, and says what to do.
  for (const user of ['carl', 'dora'])
    await openStream(t, `${service.url}/v1/stream`, { token: tokenOf(user) })
  await page.getByText('4 of 4 connections are open.').first().waitFor()
  await page
    .locator('#advice')
    .getByText(/^connection-limit · since \d\d:\d\d:\d\d$/)
    .waitFor()
  await page
    .locator('#advice')
    .getByText(/MAX_CONNECTIONS/)
    .waitFor()
  t.equal(await page.locator('#status-text').textContent(), 'Degraded')
  t.match(await page.getByRole('status').textContent(), /^Status: Degraded\. 4 of 4/)
  t.match(await page.title(), /^degraded/)

  // The table of connections can be filtered and sorted, and closes streams.
  await page.getByRole('button', { name: 'Refresh' }).click()
  await eventually(async () => (await rows(page).count()) === 4)
  await page.getByLabel('Sort by').selectOption('bufferedBytes')
  await page.locator('th[aria-sort=descending]', { hasText: 'Buffered' }).waitFor()
  await page.getByLabel('User (exact id)').fill('ann')
  await eventually(async () => (await rows(page).count()) === 1)
  t.match(await rows(page).textContent(), /^annlive/)
  const close = page.getByRole('button', { name: /^Close the stream of ann, open for / })
  await close.focus()
  await page.keyboard.press('Enter')
  const dialog = page.getByRole('dialog', { name: 'Close this stream?' })
  await dialog.waitFor()
  t.match(await dialog.textContent(), 'User ann, sse, open for')
  t.equal(
    await page.evaluate('document.activeElement.id'),
    'ask-no',
    'the harmless answer has the focus'
  )
  await page.keyboard.press('Escape')
  await dialog.waitFor({ state: 'hidden' })
  t.equal((await connectionsOf(service)).active, 4, 'nothing was closed')
  await close.focus()
  await page.keyboard.press('Enter')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await ann.until((frame) => frame.event === 'goodbye' && frame.data.reason === 'closed')
  await page.getByRole('status').getByText('The stream of ann was closed.').waitFor()
  await page.getByText('No open stream belongs to “ann”.').waitFor()
  await page.getByText('closed by an operator').waitFor()

  t.strictSame(complaints, [], 'no script fails, and nothing breaks the policy')
  t.ok(
    asked.every((url) => url.startsWith(`${service.url}/`) || url.startsWith('data:')),
    'nothing comes from elsewhere'
  )
  t.notMatch(await page.content(), 'secret title')
  const { opened } = await connectionsOf(service)
  t.equal(opened, 4, 'who watches is not counted')
})

test('the dashboard says when its own stream is cut, and reconnects by itself', {
  skip
}, async (t) => {
  const env = { PORT: String(await freePort()), STORE: 'memory', BASE_PATH: '/notify' }
  const service = await startService(t, { env })
  const { page } = await openDashboard(t, `${service.url}/notify`)
  await page.evaluate('window.sameDocument = true')
  await service.kill('SIGKILL')
  await page.getByText('Disconnected: these figures are out of date.').waitFor()
  t.match(await page.locator('#status-text').textContent(), 'Unknown')
  t.match(await page.getByRole('status').textContent(), /^Disconnected\. /)
  t.match(await page.title(), /^disconnected/)

  const again = await startService(t, { env })
  await openStream(t, `${again.url}/notify/v1/stream`, { token: tokenOf('ann') })
  await page.locator('body[data-feed=live]').waitFor()
  t.notOk(await page.locator('#cut').isVisible())
  await figure(page, 'Open streams').getByText('1', { exact: true }).waitFor()
  await told(page, `${again.url}/notify`)
  t.match(await page.getByRole('status').textContent(), 'the process has restarted')
  t.ok(await page.evaluate('window.sameDocument'), 'without a reload')
})

test('the dashboard never renders received data as HTML', { skip }, async (t) => {
  await openStream(t, `${service.url}/v1/stream`, { token: tokenOf('ann') })
  const context = await browser.newContext({ httpCredentials })
  t.teardown(() => context.close())
  const page = await context.newPage()
  page.setDefaultTimeout(60_000)
  const evil = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
  const at = new Date().toISOString()
  const { body: real } = await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })
  const stats = {
    ...real,
    version: evil,
    node: evil,
    status: evil,
    connections: { ...real.connections, closed: { [evil]: 3 }, refused: { [evil]: 3 } },
    errors: {
      total: 3,
      perMinute: 3,
      byCode: { [evil]: { count: 3, firstAt: at, lastAt: at, lastMessage: evil } },
      recent: [{ at, code: evil, message: evil, connection: evil }]
    },
    store: { ...real.store, kind: evil, epoch: evil, head: evil },
    nodes: [evil, `${evil}2`].map((node) => ({
      node,
      status: evil,
      connections: 1,
      lastSeenAt: at
    })),
    recommendations: [{ code: evil, severity: evil, message: evil, action: evil, since: at }]
  }
  const [row] = (await call('GET', `${service.url}/monitor/connections`, { key: MONITOR_KEY })).body
    .connections
  const connections = [
    {
      ...row,
      id: evil,
      user: evil,
      topics: [evil],
      remoteAddress: evil,
      transport: evil,
      state: evil
    }
  ]
  await page.route('**/monitor/stream', (route) =>
    route.fulfill({
      contentType: 'text/event-stream',
      body: `event: stats\ndata: ${JSON.stringify(stats)}\n\n`
    })
  )
  await page.route('**/monitor/connections?*', (route) =>
    route.fulfill({ json: { connections, total: 1 } })
  )
  await page.goto(`${service.url}/monitor`)
  await page.getByText('Latest errors').click()
  await eventually(async () => (await rows(page).count()) === 1)
  await page.locator('#connections button').click()
  await page.getByRole('dialog').waitFor()
  for (const place of [
    '#advice',
    '#errors',
    '#closings',
    '#refusals',
    '#connections',
    '#nodes',
    '#store',
    '#about',
    '#ask-text'
  ])
    t.match(await page.locator(place).textContent(), evil, `${place} shows it as text`)
  t.equal(await page.locator('body img, body script').count(), 0)
  t.equal(await page.evaluate('window.hit'), undefined)
})

test('charts of a process that has just started begin at its first data point', {
  skip
}, async (t) => {
  const { body: real } = await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })
  const point = (secondsAgo: number) => ({
    ...{
      active: 5,
      users: 5,
      stale: 0,
      slow: 0,
      published: 50,
      frames: 50,
      errors: 0,
      p50: 1,
      p99: 2,
      heartbeatLagMs: 1
    },
    at: new Date(Date.now() - secondsAgo * 1000).toISOString()
  })
  const stats = {
    ...real,
    connections: { ...real.connections, active: 5 },
    history: [40, 30, 20, 10].map(point)
  }
  const context = await browser.newContext({ httpCredentials })
  t.teardown(() => context.close())
  const page = await context.newPage()
  await page.route('**/monitor/stream', (route) =>
    route.fulfill({
      contentType: 'text/event-stream',
      body: `event: stats\ndata: ${JSON.stringify(stats)}\n\n`
    })
  )
  await page.goto(`${service.url}/monitor`)
  await page.getByRole('img', { name: /^Open streams, chart: constant 5/ }).waitFor()
  t.match(await page.locator('#span').textContent(), /^charts: the last 4\d s$/)
  // The area under the line is filled: where it begins, as a share of the chart's width.
  const begins = () =>
    page.evaluate<number>(`(() => {
      const canvas = document.querySelector('.chart canvas')
      const { data } = canvas.getContext('2d').getImageData(0, Math.round(canvas.height * 0.55), canvas.width, 1)
      const filled = Array.from({ length: canvas.width }, (_, x) => data[x * 4 + 3] > 0 && data[x * 4 + 2] > data[x * 4] + 20)
      return filled.indexOf(true) / canvas.width
    })()`)
  await eventually(async () => (await begins()) > 0)
  const share = await begins()
  t.ok(share < 0.35, `it begins at ${Math.round(share * 100)} % of the width, right of the axis`)
})

test('with several nodes the dashboard separates figures of this node from totals', {
  skip: skip || skipOwnServer
}, async (t) => {
  const env = { STORE: 'redis', REDIS_URL: (await startRedis(t)).url }
  const [here, there] = await Promise.all([startService(t, { env }), startService(t, { env })])
  const monitorOf = async (url: string) =>
    (await call('GET', `${url}/monitor`, { key: MONITOR_KEY })).body
  const name = async (url: string): Promise<string> => (await monitorOf(url)).node
  const [hereName, thereName] = [await name(here.url), await name(there.url)]
  const stream = await openStream(t, `${there.url}/v1/stream`, { token: tokenOf('ann') })
  await stream.until((frame) => frame.event === 'ready')
  await eventually(async () => (await monitorOf(here.url)).cluster.connections === 1)

  const { page, complaints } = await openDashboard(t, here.url)
  await figure(page, 'Open streams · this node').getByText('0', { exact: true }).waitFor()
  await page.getByText('no user is connected to this node').waitFor()
  t.same(
    await figure(page, 'Publish to write · this node').allTextContents(),
    ['–', '–'],
    'nothing measured is no zero'
  )
  const all = page.getByRole('region', { name: 'All nodes' })
  await all.locator('dl > div', { hasText: /^Streams1$/ }).waitFor()
  await eventually(async () => (await rows(page).count()) === 1)
  t.equal(
    await rows(page).getByRole('cell', { name: thereName, exact: true }).count(),
    1,
    'a stream tells where it is'
  )
  const nodes = page.getByRole('region', { name: 'Nodes', exact: true }).locator('tbody tr')
  // Each node reports its own status, which is not `ok` on a busy machine.
  await eventually(async () => {
    const [one, other] = (await monitorOf(here.url)).nodes
    const [first, second] = await nodes.allTextContents()
    const well = one.status === 'ok' && other.status === 'ok'
    return (
      first!.startsWith(`${hereName} this node${one.status}–0`) &&
      second!.startsWith(`${thereName}${other.status}–1`) &&
      well === ((await all.locator('#all-note').textContent()) === 'All nodes are healthy.')
    )
  })
  t.strictSame(complaints, [])

  // The other node has just stopped reporting and is still listed.
  const silent = await monitorOf(here.url)
  for (const node of silent.nodes) node.status = 'ok'
  silent.nodes[1].lastSeenAt = new Date(Date.parse(silent.nodes[0].lastSeenAt) - 7000).toISOString()
  await page.route('**/monitor/stream', (route) =>
    route.fulfill({
      contentType: 'text/event-stream',
      body: `event: stats\ndata: ${JSON.stringify(silent)}\n\n`
    })
  )
  await page.goto(`${here.url}/monitor`)
  await all.getByText(`${thereName} is not reporting`).waitFor()
  t.match(await nodes.allTextContents(), [/this nodeok/, new RegExp(`^${thereName}unknown`)])
})

test('the dashboard fits a phone in light and dark, and its CSP allows nothing inline', {
  skip
}, async (t) => {
  for (let n = 0; n < 3; n++)
    await openStream(t, `${service.url}/v1/stream`, { token: tokenOf(`${'long-'.repeat(20)}${n}`) })
  const grounds: unknown[] = []
  for (const colorScheme of ['light', 'dark'] as const) {
    const { page } = await openDashboard(t, service.url, {
      colorScheme,
      viewport: { width: 375, height: 700 }
    })
    await eventually(async () => (await rows(page).count()) === 3)
    t.ok(
      await page.evaluate('document.documentElement.scrollWidth <= innerWidth'),
      'nothing sticks out sideways'
    )
    const button = await rows(page).first().getByRole('button').boundingBox()
    t.ok(
      button && button.x >= 0 && button.x + button.width <= 375,
      'a stream can be closed without scrolling sideways'
    )
    const covered = await page.evaluate(
      "(() => [...document.querySelectorAll('#connections tr:first-child > :not(.several-only)')].filter((cell) => { cell.scrollIntoView({ block: 'center' }); const { left, right, top, bottom } = cell.getBoundingClientRect(); return left < 0 || right > innerWidth || !cell.contains(document.elementFromPoint(left + 2, (top + bottom) / 2)) }).map((cell) => cell.textContent))()"
    )
    t.same(covered, [], 'every value of a row is in sight')
    grounds.push(await page.evaluate('getComputedStyle(document.body).backgroundColor'))
    const inline = await page.evaluate(
      "(() => { const s = document.createElement('script'); try { s.textContent = 'window.hit = 1' } catch {} document.body.append(s); return window.hit })()"
    )
    t.equal(inline, undefined, 'a script in the page does not run')
  }
  t.not(grounds[0], grounds[1])
  const page = await call('GET', `${service.url}/monitor`, {
    key: MONITOR_KEY,
    headers: { accept: 'text/html' }
  })
  t.match(page.headers.get('content-type'), 'text/html')
  const policy = page.headers.get('content-security-policy')!
  t.match(policy, "default-src 'none'")
  t.notMatch(policy, /unsafe|\*|https?:/)
  t.notMatch(page.text, / style=| on[a-z]+=|<script(?![^>]* src=)|<style/i)
})
