import type { CDPSession, Page } from 'playwright-core'
import { test } from 'tap'
import { noChromium } from '../fixtures/chromium.ts'
import { eventually } from '../fixtures/eventually.ts'
import { connectionsOf, publish, startService, tokenOf } from '../service/harness.ts'
import { counts, heard, launch, tabsOf, titles, untilHeard } from './browser.ts'

/**
 * A leader is replaced within two seconds if the machine has time for each tab; a busy one may not.
 * A leader that is never replaced shows only when heartbeats are missed, after more than 30 s.
 */
const BUSY_MS = 25_000

const numbered = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, n) => `n${from + n}`)

test('several tabs of one browser', { skip: noChromium }, async (t) => {
  const browser = await launch(t)

  await t.test(
    'ten tabs share one connection, and closing the leader loses and repeats nothing',
    async (t) => {
      const service = await startService(t)
      const tabs = await tabsOf(t, browser, service)
      const first = await tabs.open()
      const pages = [first, ...(await Promise.all(Array.from({ length: 9 }, () => tabs.open())))]
      await eventually(async () => (await connectionsOf(service)).active === 1)
      t.ok(tabs.asked() <= 1 + tabs.thefts(), 'whoever does not lead asks for nothing')
      for (const title of numbered(0, 5)) await publish(service, { to: { user: 'u1' }, title })
      for (const page of pages) await untilHeard(page, 5)
      for (const page of pages) t.same(await heard(page), numbered(0, 5))

      // A mark in one tab shows in all tabs.
      await pages[7]!.evaluate(() => window.inbox.read(window.inbox.items[0]!.id))
      for (const page of pages) await eventually(async () => (await counts(page)).unread === 4)

      let leader: Page | undefined
      await eventually(async () => {
        leader = await tabs.leader(first)
        return leader !== undefined
      })
      const rest = pages.filter((page) => page !== leader)
      const asked = tabs.asked()
      const publishing = (async () => {
        for (const title of numbered(5, 45)) await publish(service, { to: { user: 'u1' }, title })
      })()
      await untilHeard(rest[0]!, 15)
      const killedAt = performance.now()
      await leader!.close()
      await eventually(() => tabs.asked() > asked)
      await publishing
      for (const page of rest) await untilHeard(page, 45)
      t.ok(
        performance.now() - killedAt < BUSY_MS,
        `replaced and caught up after ${Math.round(performance.now() - killedAt)} ms`
      )
      t.ok(tabs.asked() <= 2 + tabs.thefts(), 'by one of them')
      for (const page of rest) {
        t.same(await heard(page), numbered(0, 45))
        t.same(await titles(page), numbered(20, 45).reverse().concat(numbered(0, 20).reverse()))
        t.same(await counts(page), { unread: 44, unseen: 44 })
      }
      await eventually(async () => (await connectionsOf(service)).active === 1)
    }
  )

  await t.test(
    'a leader that crashes, freezes or hangs is replaced within two seconds',
    async (t) => {
      const service = await startService(t)
      const tabs = await tabsOf(t, browser, service)
      const pages = await Promise.all(Array.from({ length: 4 }, () => tabs.open()))
      let sent = 0
      const replaced = async (
        how: string,
        act: (leader: Page) => Promise<unknown>
      ): Promise<Page> => {
        let leader: Page | undefined
        await eventually(async () => {
          leader = await tabs.leader(pages[0]!)
          return leader !== undefined
        })
        const rest = pages.filter((page) => page !== leader)
        const at = performance.now()
        await act(leader!)
        await publish(service, { to: { user: 'u1' }, title: `n${sent++}` })
        await eventually(async () => rest.includes((await tabs.leader(rest[0]!)) as Page))
        for (const page of rest) await untilHeard(page, sent)
        t.ok(
          performance.now() - at < BUSY_MS,
          `${how}: replaced after ${Math.round(performance.now() - at)} ms`
        )
        return leader!
      }

      // No statement, timer or message runs any more, but the lock is still held.
      let devtools: CDPSession | undefined
      const frozen = await replaced('frozen', async (leader) => {
        devtools = await tabs.context.newCDPSession(leader)
        await devtools.send('Debugger.enable')
        await devtools.send('Debugger.pause')
      })
      await devtools!.send('Debugger.disable')
      // It receives what it missed when it wakes.
      await untilHeard(frozen, sent)

      // Most browsers fire an event before they freeze a page.
      const warned = await replaced('warned', (leader) =>
        leader.evaluate(() => document.dispatchEvent(new Event('freeze')))
      )
      await warned.evaluate(() => document.dispatchEvent(new Event('resume')))
      await untilHeard(warned, sent)

      let woken: Promise<unknown> = Promise.resolve()
      const hung = await replaced('hung', async (leader) => {
        woken = leader.evaluate(() => {
          // A page that blocks for a while: its timers and messages wait.
          for (const end = performance.now() + 2_500; performance.now() < end; );
        })
      })
      await woken
      await untilHeard(hung, sent)

      const crashed = await replaced('crashed', async (leader) => {
        const devtools = await tabs.context.newCDPSession(leader)
        // The answer never comes, because its process is gone.
        void devtools.send('Page.crash').catch(() => {})
      })
      await publish(service, { to: { user: 'u1' }, title: `n${sent++}` })
      for (const page of pages.filter((page) => page !== crashed)) {
        await untilHeard(page, sent)
        t.same(await heard(page), numbered(0, sent), 'nothing lost, nothing twice')
      }
      await eventually(async () => (await connectionsOf(service)).active === 1)
    }
  )

  await t.test('tabs of different users, or with different topics, share nothing', async (t) => {
    const service = await startService(t)
    const users = ['u1', 'u2', 'u1']
    const tabs = await tabsOf(t, browser, service, () => tokenOf(users.shift()!, ['a', 'b']))
    const [u1, u2] = [await tabs.open(), await tabs.open()]
    const narrow = await tabs.open({ topics: ['a'] })
    await eventually(async () => (await connectionsOf(service)).active === 3)
    await publish(service, { to: { user: 'u1' }, title: 'for u1' })
    await publish(service, { to: { topic: 'b' }, title: 'for b' })
    await publish(service, { to: { everyone: true }, title: 'last' })
    for (const page of [u1, u2, narrow])
      await eventually(async () => (await heard(page)).includes('last'))
    t.same(await heard(u1), ['for u1', 'for b', 'last'])
    t.same(await heard(u2), ['for b', 'last'])
    t.same(await heard(narrow), ['for u1', 'last'])
  })

  await t.test(
    'a tab suspended past the new leader’s page gets every notification, or a reset',
    async (t) => {
      const service = await startService(t)
      const tabs = await tabsOf(t, browser, service)
      const away = await tabs.open()
      await publish(service, { to: { user: 'u1' }, title: 'n0' })
      await untilHeard(away, 1)
      await away.goto('about:blank')
      for (const title of numbered(1, 31)) await publish(service, { to: { user: 'u1' }, title })
      const leader = await tabs.open()
      await away.addInitScript(() => {
        addEventListener('DOMContentLoaded', () =>
          window.inbox.on('reset', ({ reason }) => window.statuses.push(reason))
        )
      })
      await away.goBack()
      await eventually(async () => (await titles(away))[0] === 'n30')
      await eventually(async () =>
        (await away.evaluate(() => window.statuses)).includes('overflow')
      )
      t.same(await heard(away), [], 'not the newest of them only')
      await publish(service, { to: { user: 'u1' }, title: 'n31' })
      for (const page of [away, leader]) {
        await untilHeard(page, 1)
        t.same(await heard(page), ['n31'])
      }
    }
  )

  await t.test(
    'without Web Locks, or when they are denied, each tab has its own connection',
    async (t) => {
      const service = await startService(t)
      const tabs = await tabsOf(t, browser, service)
      // As in a page with blocked storage: https://w3c.github.io/web-locks, denied requests reject
      // with SecurityError.
      await tabs.context.addInitScript(() => {
        LockManager.prototype.request = () =>
          Promise.reject(new DOMException('denied', 'SecurityError'))
      })
      const pages = [await tabs.open()]
      await tabs.context.addInitScript(() =>
        Object.defineProperty(navigator, 'locks', { value: undefined })
      )
      pages.push(await tabs.open())
      // With blocked storage they exist, and throw.
      await tabs.context.addInitScript(() => {
        const denied = (): never => {
          throw new DOMException('denied', 'SecurityError')
        }
        window.BroadcastChannel = denied as unknown as typeof BroadcastChannel
        for (const name of ['sessionStorage', 'localStorage', 'crypto'])
          Object.defineProperty(window, name, { get: denied })
        Object.defineProperty(navigator, 'locks', { get: denied })
      })
      pages.push(await tabs.open())
      t.equal((await connectionsOf(service)).active, 3)
      await publish(service, { to: { user: 'u1' }, title: 'n0' })
      for (const page of pages) await untilHeard(page, 1)
    }
  )
})
