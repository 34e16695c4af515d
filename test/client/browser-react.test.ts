import { build } from 'esbuild'
import { test } from 'tap'
import { noChromium } from '../fixtures/chromium.ts'
import { eventually, publish, startService, tokenOf } from '../service/harness.ts'
import { launch, tabsOf } from './browser.ts'

const APP = `
  import { createElement as h } from 'react'
  import { createRoot } from 'react-dom/client'
  import { useInbox, useUnread } from 'bellwire/react'
  window.renders = 0
  function Badge() {
    window.renders++
    return h('b', null, useUnread(window.inbox))
  }
  function List() {
    const { items, status } = useInbox(window.inbox)
    return h('ul', { title: status }, items.map((item) => h('li', { key: item.id, onClick: () => window.inbox.read(item.id) }, item.title)))
  }
  const root = document.body.appendChild(document.createElement('main'))
  createRoot(root).render(h('div', null, h(Badge), h(List)))
`

test('the hooks render what the inbox shows, and only when it changes', { skip: noChromium }, async (t) => {
  const browser = await launch(t)
  const service = await startService(t)
  const { outputFiles } = await build({
    stdin: { contents: APP, resolveDir: process.cwd() },
    bundle: true,
    write: false,
    format: 'iife',
    define: { 'process.env.NODE_ENV': '"production"' }
  })
  const tabs = await tabsOf(t, browser, service, () => tokenOf('u1'))
  const page = await tabs.open()
  await page.addScriptTag({ content: outputFiles[0]!.text })
  const shown = (): Promise<string> =>
    page.evaluate(
      () =>
        `${document.querySelector('b')!.textContent}: ${[...document.querySelectorAll('li')].map(({ textContent }) => textContent)}`
    )
  await page.waitForSelector('ul[title=live]', { state: 'attached' })
  for (const title of ['a', '<b>', 'c']) await publish(service, { to: { user: 'u1' }, title })
  await eventually(async () => (await shown()) === '3: c,<b>,a')
  await page.click('li')
  await eventually(async () => (await shown()) === '2: c,<b>,a')
  const renders = await page.evaluate(() => Reflect.get(window, 'renders'))
  await page.evaluate(() => window.inbox.seen())
  await eventually(() => page.evaluate(() => window.inbox.counts.unseen === 0))
  t.equal(
    await page.evaluate(() => Reflect.get(window, 'renders')),
    renders,
    'the badge shows what is unread, not what is unseen'
  )
  t.equal(await page.evaluate(() => document.querySelectorAll('main b').length), 1, 'a title is text')
})
