// `npm run pictures`: takes the pictures of README.md, of a real service in a real browser.
import { setTimeout as sleep } from 'node:timers/promises'
import { launchChromium } from './fixtures/chromium.ts'
import { call, openStream, startService } from './service/harness.ts'

const PUBLISH_EVERY_MS = 150
/** The dashboard draws one point every ten seconds, and a chart needs a few. */
const TRAFFIC_MS = 150_000
const KEYS = { NODE_ENV: 'development', PUBLISH_KEYS: '', MONITOR_KEYS: '', AUTH_JWT_SECRET: '' }

const cleanUp: (() => unknown)[] = []
const t = { teardown: (handler: () => unknown) => cleanUp.unshift(handler) }

async function drawBell(): Promise<void> {
  const service = await startService(t, { env: KEYS })
  const browser = await launchChromium(t)
  const publish = (notification: Record<string, unknown>) =>
    call('POST', `${service.url}/v1/notifications`, { key: 'dev-publish-key', body: notification })
  await publish({
    to: { topic: 'news' },
    type: 'release',
    title: 'Version 2.4 is live',
    body: 'Faster search, and a new editor.',
    level: 'success',
    url: '/releases/2.4'
  })
  await publish({
    to: { everyone: true },
    type: 'maintenance',
    title: 'Maintenance on Sunday, 02:00 UTC',
    body: 'Expect five minutes without uploads.',
    level: 'warning'
  })
  // The notifications before the page opens show no toast.
  const page = await browser.newPage({ viewport: { width: 1080, height: 620 } })
  await page.goto(`${service.url}/demo`)
  await page.locator('.panel[data-user=alice] .status[data-status=live]').waitFor()
  await publish({
    to: { user: 'alice' },
    type: 'comment',
    title: 'Carol commented on your draft',
    body: 'Looks good. One question about the second paragraph.',
    url: '/drafts/7'
  })
  await page.locator('.toast', { hasText: 'Carol' }).waitFor()
  await page.evaluate('document.fonts.ready')
  await page.screenshot({ path: '.github/bell.png' })
}

async function drawDashboard(): Promise<void> {
  const service = await startService(t, { env: KEYS })
  const browser = await launchChromium(t)
  const token = async (user: string): Promise<string> =>
    (await call('POST', `${service.url}/demo/token`, { body: { user, topics: ['news'] } })).body
      .token
  for (let n = 0; n < 40; n++)
    await openStream(t, `${service.url}/v1/stream`, { token: await token(`user-${n % 25}`) })
  const end = Date.now() + TRAFFIC_MS
  for (let n = 0; Date.now() < end; n++) {
    const to = n % 8 === 0 ? { topic: 'news' } : { user: `user-${n % 25}` }
    await call('POST', `${service.url}/v1/notifications`, {
      key: 'dev-publish-key',
      body: { to, type: 'comment', title: `Comment ${n}` }
    })
    if (n % 60 === 0)
      await openStream(t, `${service.url}/v1/stream`, { token: await token(`guest-${n}`) })
    await sleep(PUBLISH_EVERY_MS * (1 + 0.6 * Math.sin(n / 90)))
  }
  const page = await browser.newPage({
    viewport: { width: 1080, height: 760 },
    httpCredentials: { username: 'operator', password: 'dev-monitor-key' }
  })
  await page.goto(`${service.url}/monitor`)
  await sleep(3000)
  await page.screenshot({ path: '.github/dashboard.png' })
}

try {
  await Promise.all([drawBell(), drawDashboard()])
} finally {
  for (const handler of cleanUp) await handler()
}
