import { createRequire } from 'node:module'
import { type BuildOptions, build } from 'esbuild'
import { test } from 'tap'
import { createInbox } from '../../src/client/index.ts'
import { noChromium } from '../fixtures/chromium.ts'
import { eventually } from '../fixtures/eventually.ts'
import { publish, startService, tokenOf } from '../service/harness.ts'
import { launch, tabsOf, untilHeard } from './browser.ts'

const APP = `
  import { createElement as h } from 'react'
  import { useInbox, useUnread } from 'bellwire/react'
  globalThis.renders = 0
  function Badge() {
    globalThis.renders++
    return h('b', null, useUnread(globalThis.inbox))
  }
  function List() {
    const { items, status } = useInbox(globalThis.inbox)
    return h('ul', { title: status }, items.map((item) => h('li', { key: item.id, onClick: () => globalThis.inbox.read(item.id) }, item.title)))
  }
  const app = h('div', null, h(Badge), h(List))
`
const SERVER = `
  import { renderToString } from 'react-dom/server'
  ${APP}
  exports.html = renderToString(app)
`
const BROWSER = `
  import { hydrateRoot } from 'react-dom/client'
  ${APP}
  window.mismatches = []
  const root = document.body.appendChild(document.createElement('main'))
  root.innerHTML = HTML
  hydrateRoot(root, app, { onRecoverableError: (error) => window.mismatches.push(String(error)) })
`

async function bundle(contents: string, options: BuildOptions): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: process.cwd() },
    bundle: true,
    write: false,
    ...options,
    define: { 'process.env.NODE_ENV': '"production"', ...options.define }
  })
  return outputFiles![0]!.text
}

/** What a server renders: without a page the inbox is empty. */
async function renderedByServer(): Promise<string> {
  const exports: { html?: string } = {}
  const code = await bundle(SERVER, { format: 'cjs', platform: 'node' })
  Object.assign(globalThis, { inbox: createInbox() })
  new Function('require', 'exports', code)(createRequire(import.meta.url), exports)
  return exports.html!
}

test('the React hooks hydrate, and render only when the inbox changes', {
  skip: noChromium
}, async (t) => {
  const browser = await launch(t)
  const service = await startService(t)
  const html = await renderedByServer()
  t.equal(html, '<div><b>0</b><ul title="connecting"></ul></div>')
  const tabs = await tabsOf(t, browser, service, () => tokenOf('u1'))
  const page = await tabs.open()
  // The page knows more than the server did, before React starts.
  await publish(service, { to: { user: 'u1' }, title: 'a' })
  await untilHeard(page, 1)
  await page.addScriptTag({
    content: await bundle(BROWSER, { format: 'iife', define: { HTML: JSON.stringify(html) } })
  })
  const shown = (): Promise<string> =>
    page.evaluate(
      () =>
        `${document.querySelector('b')!.textContent}: ${[...document.querySelectorAll('li')].map(({ textContent }) => textContent)}`
    )
  await page.waitForSelector('ul[title=live]', { state: 'attached' })
  t.same(
    await page.evaluate(() => Reflect.get(window, 'mismatches')),
    [],
    'what React begins with is what the server has sent'
  )
  for (const title of ['<b>', 'c']) await publish(service, { to: { user: 'u1' }, title })
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
  t.equal(
    await page.evaluate(() => document.querySelectorAll('main b').length),
    1,
    'a title is text'
  )
})
