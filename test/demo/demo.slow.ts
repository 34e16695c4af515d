import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { launchChromium, noChromium } from '../fixtures/chromium.ts'
import { eventually } from '../fixtures/eventually.ts'
import { freePort } from '../fixtures/free-port.ts'
import { call, type Service, startService } from '../service/harness.ts'

const DEVELOPMENT = {
  NODE_ENV: 'development',
  PUBLISH_KEYS: '',
  MONITOR_KEYS: '',
  AUTH_JWT_SECRET: ''
}

const publish = (service: Pick<Service, 'url'>, notification: Record<string, unknown>) =>
  call('POST', `${service.url}/v1/notifications`, {
    key: 'dev-publish-key',
    body: { type: 'test', ...notification }
  })

interface Demo {
  readonly page: Page
  readonly alice: Locator
  readonly bob: Locator
  /** Errors in the browser's console. */
  readonly complaints: string[]
  /** Publishes one of the ready-made notifications. */
  send(to: string, preset: string): Promise<void>
}

const panel = (page: Page, user: string): Locator => page.locator(`.panel[data-user=${user}]`)
const titles = (of: Locator): Promise<string[]> => of.locator('.item .title').allTextContents()
const unread = async (of: Locator): Promise<number> =>
  Number(/: (\d+) unread/.exec((await of.locator('.bell').getAttribute('aria-label')) ?? '')?.[1])
const status = (of: Locator): Promise<string | null> => of.locator('.status').textContent()
const live = async (page: Page): Promise<void> => {
  for (const user of ['alice', 'bob'])
    await panel(page, user).locator('.status[data-status=live]').waitFor()
}

async function openDemo(
  t: Test,
  browser: Browser,
  service: Pick<Service, 'url'>,
  options: BrowserContextOptions = {}
): Promise<Demo> {
  const context = await browser.newContext(options)
  t.teardown(() => context.close())
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('dialog', (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  await page.goto(`${service.url}/demo`)
  await live(page)
  return {
    page,
    alice: panel(page, 'alice'),
    bob: panel(page, 'bob'),
    complaints,
    async send(to, preset) {
      await page.locator('#result').evaluate((result) => {
        result.textContent = ''
      })
      await page.locator('#to').selectOption({ label: to })
      await page.getByRole('button', { name: preset, exact: true }).click()
      await page.locator('#result', { hasText: /^Sent/ }).waitFor()
    }
  }
}

t.test('the demo page in a browser', { skip: noChromium }, async (t) => {
  const browser = await launchChromium(t)

  t.test('a notification reaches its user, and the buttons mark, archive and load', async (t) => {
    const service = await startService(t, { env: DEVELOPMENT })
    const { page, alice, bob, complaints, send } = await openDemo(t, browser, service)
    await send('Alice', 'Comment')
    await alice.getByText('Carol commented on your draft').waitFor()
    t.equal(await unread(alice), 1)
    t.equal(
      await page.locator('#announcer').textContent(),
      'Alice: info, Carol commented on your draft',
      'a screen reader is told'
    )
    const toast = page.locator('.toast')
    t.match(await toast.textContent(), /Alice · info.*Carol commented/s)
    await toast.getByRole('button').click()
    t.equal(await toast.count(), 0)
    const link = alice.getByRole('link', { name: 'Carol commented on your draft' })
    t.equal(await link.getAttribute('rel'), 'noopener noreferrer')

    await send('Topic news (Alice and Bob)', 'Deployed')
    await send('Topic project:7 (Alice)', 'Build failed')
    await send('Everyone', 'Disk fills up')
    await alice.getByText('Build 42 failed').waitFor()
    await bob.getByText('The disk is 91 % full').waitFor()
    t.same(await titles(bob), ['The disk is 91 % full', 'Version 2.4 is live'])
    await send('Everyone', 'Disk fills up')
    await alice.getByText('2 times').waitFor()
    t.equal((await titles(alice)).length, 4, 'the same key takes its own place')
    t.equal(await unread(alice), 4)

    await alice.getByRole('button', { name: 'Mark as read: Build 42 failed' }).click()
    await alice.getByRole('button', { name: 'Mark as unread: Build 42 failed' }).waitFor()
    t.equal(await unread(alice), 3)
    const archive = alice.getByRole('button', { name: 'Archive: Build 42 failed' })
    await archive.focus()
    await page.keyboard.press('Enter')
    await alice.getByText('Build 42 failed').waitFor({ state: 'detached' })
    t.match(
      await page.locator(':focus').getAttribute('aria-label'),
      /^Archive: /,
      'the focus goes on to the next one'
    )
    await alice.getByRole('button', { name: 'Mark all read' }).click()
    await eventually(async () => (await unread(alice)) === 0)
    t.equal(await unread(bob), 2, 'what one has read the other has not')
    await alice.getByRole('button', { name: 'Archive all' }).click()
    await alice.getByText('Nothing here.').waitFor()
    t.equal(await bob.locator('.item').count(), 2)

    await send('Alice', 'Twenty')
    await eventually(async () => (await unread(alice)) === 20)
    t.match(
      await page.locator('#result').textContent(),
      /^Sent 20 to Alice, one after another\. Round trip: \d+ ms each, \d+ ms in all\.$/
    )
    const told = (await page.locator('#events li').allTextContents()).filter((line) =>
      line.includes('One of twenty')
    )
    t.equal(
      new Set(told.map((line) => line.slice(line.indexOf('One')))).size,
      20,
      'the log tells them apart'
    )
    const fresh = await openDemo(t, browser, service)
    await fresh.alice.getByText('Number 20.').waitFor()
    t.equal(await fresh.alice.locator('.item').count(), 10)
    await fresh.alice.getByRole('button', { name: 'Load more' }).click()
    await eventually(async () => (await fresh.alice.locator('.item').count()) === 20)
    t.equal(await fresh.alice.getByRole('button', { name: 'Load more' }).count(), 0, 'that was all')

    await page.getByLabel('Ephemeral').check()
    await page.getByLabel('Title').fill('only now')
    await page.locator('#to').selectOption({ label: 'Alice' })
    await page.getByRole('button', { name: 'Send', exact: true }).click()
    await page.locator('.toast', { hasText: 'only now' }).waitFor()
    t.notOk((await titles(alice)).includes('only now'))
    t.same(complaints, [])
  })

  t.test('the form shows errors, and user input is rendered as text', async (t) => {
    const service = await startService(t, { env: DEVELOPMENT })
    const { page, alice, complaints, send } = await openDemo(t, browser, service)
    await send('Alice', 'Hostile text')
    await alice.getByText('<img src=x onerror="alert(1)"> is only text').waitFor()
    const poisons = [
      '<b onmouseover=alert(3)>x</b>',
      '</p><script>alert(4)</script>',
      '{{7*7}}',
      '\u0000\u202E',
      'javascript:alert(5)'
    ]
    for (const [n, body] of poisons.entries())
      await publish(service, {
        to: { user: 'alice' },
        type: `poison-${n}`,
        title: body,
        body,
        key: body.replace(/[^ -~]/g, '') || 'x'
      })
    await eventually(async () => (await titles(alice)).length === 1 + poisons.length)
    t.same((await titles(alice)).slice(0, poisons.length), [...poisons].reverse())
    t.equal(
      await page.locator('.panel img, .panel b, .panel script, .toast img, .toast script').count(),
      0
    )

    await page.getByLabel('Link').fill('javascript:alert(6)')
    await page.getByRole('button', { name: 'Send', exact: true }).click()
    await page.locator('#result', { hasText: /^Not sent: .*url/ }).waitFor()
    // The browser logs that answer itself.
    t.same(
      complaints.filter((text) => !/status of 422/.test(text)),
      []
    )
  })

  t.test(
    'a reload keeps its position, and a restarted service receives the marks made meanwhile',
    async (t) => {
      const port = String(await freePort())
      const env = { ...DEVELOPMENT, PORT: port }
      const service = await startService(t, { env })
      const { page, alice, bob, send } = await openDemo(t, browser, service)
      await send('Everyone', 'Deployed')
      await send('Alice', 'Build failed')
      await alice.getByText('Build 42 failed').waitFor()
      const resumed: string[] = []
      page.on(
        'request',
        (request) =>
          request.url().includes('/v1/stream') &&
          resumed.push(request.url() + JSON.stringify(request.headers()))
      )
      await page.reload()
      await live(page)
      t.same(await titles(alice), ['Build 42 failed', 'Version 2.4 is live'])
      t.equal(resumed.length, 2)
      for (const request of resumed) t.match(request, /since=|last-event-id/, 'with a cursor')
      t.equal(await page.locator('.toast').count(), 0, 'nothing is told twice')

      await service.kill('SIGKILL')
      await alice.locator('.status[data-status=offline]').waitFor({ timeout: 20_000 })
      t.match(await alice.locator('.notice').textContent(), /sent later/)
      t.equal((await titles(alice)).length, 2, 'the list stays')
      await alice.getByRole('button', { name: 'Mark as read: Build 42 failed' }).click()
      await eventually(async () => (await unread(alice)) === 1)
      const again = await startService(t, { env, dataDir: service.dataDir })
      // The event a browser fires when the network returns; without it the page retries with
      // growing pauses.
      await page.evaluate(() => dispatchEvent(new Event('online')))
      await publish(again, { to: { user: 'bob' }, title: 'while nobody listened' })
      await bob.getByText('while nobody listened').waitFor({ timeout: 40_000 })
      await live(page)
      const { token } = (
        await call('POST', `${again.url}/demo/token`, { body: { user: 'alice', topics: ['news'] } })
      ).body
      await eventually(
        async () =>
          (await call('GET', `${again.url}/v1/inbox/counts`, { key: token })).body.unread === 1
      )
      t.equal(await status(alice), 'Live')
    }
  )

  t.test('tabs share one connection, and the closed bell shows what is new', async (t) => {
    const service = await startService(t, { env: { ...DEVELOPMENT, BASE_PATH: '/notify' } })
    const at = { url: service.url.replace(/(\/notify)?$/, '/notify') }
    const { page, alice, complaints, send } = await openDemo(t, browser, at)
    const second = await page.context().newPage()
    await second.goto(`${at.url}/demo`)
    await live(second)
    const { body } = await call('GET', `${at.url}/monitor`, { key: 'dev-monitor-key' })
    t.equal(body.connections.active, 2, 'one for each person, not for each tab')
    await second.close()

    await page.bringToFront()
    const bell = alice.locator('.bell')
    await bell.focus()
    await page.keyboard.press('Enter')
    t.equal(await bell.getAttribute('aria-expanded'), 'false')
    t.equal(await alice.locator('.body').isVisible(), false)
    await send('Alice', 'Comment')
    await eventually(
      async () =>
        (await bell.getAttribute('aria-label')) === 'Notifications for Alice: 1 unread, 1 new'
    )
    await bell.focus()
    await page.keyboard.press('Space')
    await eventually(
      async () =>
        (await bell.getAttribute('aria-label')) === 'Notifications for Alice: 1 unread, 0 new'
    )
    t.same(complaints, [])
  })

  t.test(
    'the demo fits a phone, with enough contrast and touch size in light and dark',
    async (t) => {
      const service = await startService(t, { env: DEVELOPMENT })
      const phone = { viewport: { width: 375, height: 780 }, hasTouch: true, isMobile: true }
      const { page, alice, send } = await openDemo(t, browser, service, phone)
      for (const preset of ['Comment', 'Deployed', 'Disk fills up', 'Build failed', 'Hostile text'])
        await send('Everyone', preset)
      await publish(service, {
        to: { user: 'alice' },
        title: 'x'.repeat(200),
        body: 'y'.repeat(400)
      })
      await alice.getByText('xxxxxxxxxx').waitFor()
      t.equal(
        await page.evaluate(() => document.documentElement.scrollWidth),
        375,
        'nothing hangs over'
      )
      await page.evaluate(() => scrollTo(0, 200))
      const below = await page.evaluate(() => {
        const [top, toast] = ['.top', '.toast'].map((selector) =>
          document.querySelector(selector)!.getBoundingClientRect()
        )
        return { top: top!.top, height: toast!.height, overhang: toast!.bottom - top!.bottom }
      })
      t.equal(below.top, 0, 'the top stays in view')
      t.ok(below.height > 0 && below.overhang <= 0, 'and a toast covers nothing else', { below })
      const heights = await page.evaluate(() =>
        [...document.querySelectorAll('button, select, input:not([type=checkbox])')]
          .filter((element) => element.checkVisibility())
          .map((element) => element.getBoundingClientRect().height)
      )
      t.ok(heights.length > 20)
      t.ok(Math.min(...heights) >= 36, `the lowest control is ${Math.min(...heights)} high`)
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme })
        t.same(
          await page.evaluate(lowContrasts),
          [],
          `all text stands out from its ground (${colorScheme})`
        )
      }
    }
  )
})

t.test(
  'in development the root address leads to the demo, with and without a base path',
  async (t) => {
    for (const base of ['', '/bell']) {
      const { url } = await startService(t, { env: { ...DEVELOPMENT, BASE_PATH: base } })
      const { origin } = new URL(url)
      for (const path of [`${base}/`, base || '/']) {
        const { status, headers } = await call('GET', `${origin}${path}`)
        t.equal(status, 302)
        t.equal(headers.get('location'), `${base}/demo`)
      }
      const { paths } = (await call('GET', `${origin}${base}/documentation/json`)).body
      t.notOk(paths['/'], 'undocumented')
      t.ok(paths['/v1/notifications'])
    }
  }
)

t.test('production serves no demo', async (t) => {
  const service = await startService(t)
  for (const path of ['/', '/demo', '/demo/demo.js'])
    t.equal((await call('GET', `${service.url}${path}`)).status, 404)
  for (const path of ['/demo/token', '/demo/publish', '/demo/ticket'])
    t.equal((await call('POST', `${service.url}${path}`, { body: {} })).status, 404)
})

/** Runs in the page: visible text whose contrast with its background is below WCAG's 4.5. */
function lowContrasts(): string[] {
  const brush = document.createElement('canvas').getContext('2d', { willReadFrequently: true })!
  const rgba = (color: string): number[] => {
    brush.clearRect(0, 0, 1, 1)
    brush.fillStyle = color
    brush.fillRect(0, 0, 1, 1)
    return [...brush.getImageData(0, 0, 1, 1).data]
  }
  const luminance = (color: number[]): number => {
    const [r, g, b] = color.slice(0, 3).map((byte) => {
      const share = byte / 255
      return share <= 0.040_45 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!
  }
  const groundOf = (element: Element | null): number[] => {
    for (let at = element; at; at = at.parentElement) {
      const ground = rgba(getComputedStyle(at).backgroundColor)
      if (ground[3] === 255) return ground
    }
    return [255, 255, 255, 255]
  }
  const found: string[] = []
  let looked = 0
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].filter(
      (node) => node.nodeType === Node.TEXT_NODE && node.textContent?.trim()
    )
    if (text.length === 0 || !element.checkVisibility() || (element as HTMLButtonElement).disabled)
      continue
    looked++
    const [one, two] = [
      luminance(rgba(getComputedStyle(element).color)),
      luminance(groundOf(element))
    ].sort((a, b) => b - a)
    const ratio = (one! + 0.05) / (two! + 0.05)
    if (ratio < 4.5)
      found.push(`${ratio.toFixed(2)} ${element.className} ${element.textContent?.slice(0, 40)}`)
  }
  return looked > 40 ? found : [`only ${looked} texts were looked at`]
}
