import { test } from 'tap'
import { connectionsOf, eventually, publish, startService } from '../service/harness.ts'
import { counts, heard, launch, noBrowser, tabsOf, titles, untilHeard } from './browser.ts'

const numbered = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, n) => `n${from + n}`)

test('tabs of one browser', { skip: noBrowser }, async (t) => {
  const browser = await launch(t)

  await t.test('ten tabs are one connection, and the death of the leader loses nothing and repeats nothing', async (t) => {
    const service = await startService(t)
    const tabs = await tabsOf(t, browser, service)
    const first = await tabs.open()
    const pages = [first, ...(await Promise.all(Array.from({ length: 9 }, () => tabs.open())))]
    t.equal((await connectionsOf(service)).active, 1)
    t.equal(tabs.asked(), 1)
    for (const title of numbered(0, 5)) await publish(service, { to: { user: 'u1' }, title })
    for (const page of pages) await untilHeard(page, 5)
    for (const page of pages) t.same(await heard(page), numbered(0, 5))

    // What is marked in one tab is marked in all.
    await pages[7]!.evaluate(() => window.inbox.read(window.inbox.items[0]!.id))
    for (const page of pages) await eventually(async () => (await counts(page)).unread === 4)

    const leader = tabs.leader()
    const rest = pages.filter((page) => page !== leader)
    const publishing = (async () => {
      for (const title of numbered(5, 45)) await publish(service, { to: { user: 'u1' }, title })
    })()
    await untilHeard(rest[0]!, 15)
    const killedAt = performance.now()
    await leader.close()
    await eventually(() => tabs.asked() === 2)
    await publishing
    for (const page of rest) await untilHeard(page, 45)
    t.ok(performance.now() - killedAt < 2_000, `replaced and caught up after ${Math.round(performance.now() - killedAt)} ms`)
    for (const page of rest) {
      t.same(await heard(page), numbered(0, 45))
      t.same(await titles(page), numbered(20, 45).reverse().concat(numbered(0, 20).reverse()))
      t.same(await counts(page), { unread: 44, unseen: 44 })
    }
    t.equal((await connectionsOf(service)).active, 1)
  })
})
