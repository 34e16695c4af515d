import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Page } from 'playwright-core'
import { test } from 'tap'
import { noChromium } from '../fixtures/chromium.ts'
import { eventually } from '../fixtures/eventually.ts'
import { freePort } from '../fixtures/free-port.ts'
import { jwt } from '../fixtures/jwt.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import {
  call,
  connectionsOf,
  PUBLISH_KEY,
  publish,
  startService,
  tokenOf
} from '../service/harness.ts'
import { counts, heard, launch, tabsOf, titles, untilHeard } from './browser.ts'

const numbered = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, n) => `n${from + n}`)
const nginx = ['/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/sbin/nginx'].find((file) =>
  existsSync(file)
)

test('one tab under network failures', { skip: noChromium }, async (t) => {
  // In parallel: the subtests mostly wait for time-outs, and each has its own user.
  t.jobs = 3
  const browser = await launch(t)
  const service = await startService(t, { env: { HEARTBEAT_MS: '1000' } })

  t.test(
    'killing the service in the middle of 200 notifications loses and repeats nothing',
    { buffered: true },
    async (t) => {
      const port = String(await freePort())
      const first = await startService(t, { env: { PORT: port } })
      const tabs = await tabsOf(t, browser, first)
      const page = await tabs.open()
      const sent = numbered(0, 200)
      const publishing = (async () => {
        for (let n = 0; n < sent.length; n += 10) {
          const notifications = sent
            .slice(n, n + 10)
            .map((title) => ({ to: { user: 'u1' }, type: 't', title, idempotencyKey: title }))
          // Like a producer: repeat with the same keys until they are accepted.
          await eventually(() =>
            call('POST', `${first.url}/v1/notifications/batch`, {
              key: PUBLISH_KEY,
              body: { notifications }
            }).then(
              ({ status }) => status === 200,
              () => false
            )
          )
        }
      })()
      await untilHeard(page, 60)
      await first.kill('SIGKILL')
      await startService(t, { env: { PORT: port }, dataDir: first.dataDir })
      await publishing
      // Two failures and the pauses after them, at most 5 s each.
      await untilHeard(page, 200)
      t.same(await heard(page), sent)
      t.same(await counts(page), { unread: 200, unseen: 200 })
      t.same(await titles(page), [...sent].reverse())
    }
  )

  t.test(
    'behind a buffering proxy it falls back to WebSocket, then polling, and loses nothing',
    {
      buffered: true,
      skip: nginx ? false : 'nginx not found: apt-get install nginx-light'
    },
    async (t) => {
      const dir = tempDir(t)
      const port = await freePort()
      mkdirSync(path.join(dir, 'logs'))
      writeFileSync(
        path.join(dir, 'nginx.conf'),
        `daemon off; pid ${dir}/pid; error_log ${dir}/error.log; worker_processes 1;
       events { worker_connections 64; }
       http { access_log off; client_body_temp_path ${dir}/b; proxy_temp_path ${dir}/p; fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
         proxy_ignore_headers X-Accel-Buffering;
         server { listen 127.0.0.1:${port};
           location / { proxy_pass ${service.url}; proxy_set_header Host $http_host; }
           location /v1/socket { proxy_pass ${service.url}; proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; } } }`
      )
      const child = spawn(
        nginx!,
        ['-c', path.join(dir, 'nginx.conf'), '-p', dir, '-e', path.join(dir, 'error.log')],
        {
          stdio: 'ignore'
        }
      )
      t.teardown(async () => {
        child.kill('SIGQUIT')
        await once(child, 'exit')
      })
      const proxy = { url: `http://127.0.0.1:${port}` }
      await eventually(() =>
        fetch(`${proxy.url}/healthz`).then(
          ({ ok }) => ok,
          () => false
        )
      )
      // A WebSocket carries no token, so a client with only a token polls.
      const bearer = await tabsOf(t, browser, proxy, () => tokenOf('polls', ['news']))
      const cookie = await tabsOf(t, browser, proxy, null)
      await cookie.context.addCookies([
        { name: 'session', value: tokenOf('sockets', ['news']), url: proxy.url }
      ])
      const [polls, sockets] = await Promise.all([bearer.open(), cookie.open({ user: 'sockets' })])
      t.equal(await polls.evaluate(() => window.inbox.status), 'polling')
      t.equal(await sockets.evaluate(() => window.inbox.status), 'live')
      t.equal((await connectionsOf(service)).byTransport.websocket, 1)
      for (const title of numbered(0, 20))
        await publish(service, {
          to: title < 'n15' ? { topic: 'news' } : { users: ['polls', 'sockets'] },
          title
        })
      for (const page of [polls, sockets]) {
        await untilHeard(page, 20)
        t.same(await heard(page), numbered(0, 20))
        t.same(await counts(page), { unread: 20, unseen: 20 })
      }
      const { body } = await call('GET', `${service.url}/v1/inbox`, {
        key: tokenOf('polls', ['news'])
      })
      const recalled = body.items.find((item: { title: string }) => item.title === 'n0')
      await call('DELETE', `${service.url}/v1/notifications/${recalled.id}`, { key: PUBLISH_KEY })
      for (const page of [polls, sockets])
        await eventually(async () => (await counts(page)).unread === 19)
    }
  )

  t.test(
    'when streams are refused it polls, and tries streams again when the network changes',
    { buffered: true },
    async (t) => {
      const tabs = await tabsOf(t, browser, service, () => tokenOf('climbs'))
      await tabs.context.route('**/v1/stream?*', (route) =>
        route.fulfill({ contentType: 'text/html', body: 'Welcome to this hotel' })
      )
      const page = await tabs.open()
      t.equal(await page.evaluate(() => window.inbox.status), 'polling')
      let sent = 0
      const publishing = (async () => {
        while (sent < 60) await publish(service, { to: { user: 'climbs' }, title: `n${sent++}` })
      })()
      await untilHeard(page, 10)
      await tabs.context.unroute('**/v1/stream?*')
      await page.evaluate(() => dispatchEvent(new Event('online')))
      await page.waitForFunction(() => window.inbox.status === 'live')
      await publishing
      await untilHeard(page, sent)
      t.same(await heard(page), numbered(0, sent))
    }
  )

  t.test(
    'a page from an allowed origin is served, even without Web Locks',
    { buffered: true },
    async (t) => {
      const origin = 'http://app.example.test'
      const shop = await startService(t, { env: { CORS_ORIGINS: origin } })
      const tabs = await tabsOf(t, browser, shop, () => tokenOf('guest'), origin)
      const page = await tabs.open()
      t.equal(await page.evaluate(() => navigator.locks), undefined, 'the page is not a secure one')
      await publish(shop, { to: { user: 'guest' }, title: 'a' })
      await untilHeard(page, 1)
      await page.evaluate(() => window.inbox.readAll())
      t.same(await counts(page), { unread: 0, unseen: 0 })
      const stranger = await tabsOf(
        t,
        browser,
        shop,
        () => tokenOf('guest'),
        'http://other.example.test'
      )
      const refused = await stranger.context.newPage()
      await refused.goto('http://other.example.test/page')
      await refused.evaluate((url) => {
        window.inbox = window.Bellwire.createInbox({ url, token: () => window.getToken() })
      }, shop.url)
      await refused.waitForFunction(() => window.inbox.state.error)
      const told = (): Promise<string> => refused.evaluate(() => window.inbox.state.error!.message)
      t.equal(
        await told(),
        'is http://other.example.test in CORS_ORIGINS?',
        'the browser does not say it, the SDK does'
      )
      await refused.evaluate(() => window.inbox.close())

      // A ticket opens a stream without cookies, but the browser still hides the answer from
      // another origin.
      const opens = async (page: Page, withCredentials: boolean): Promise<boolean> => {
        const { body } = await call('POST', `${shop.url}/v1/tickets`, {
          key: PUBLISH_KEY,
          body: { user: 'guest' }
        })
        return page.evaluate(
          ({ address, withCredentials }) =>
            new Promise<boolean>((resolve) => {
              const source = new EventSource(address, { withCredentials })
              const end = (opened: boolean) => {
                source.close()
                resolve(opened)
              }
              source.addEventListener('ready', () => end(true))
              source.addEventListener('error', () => end(false))
            }),
          { address: `${shop.url}/v1/stream?ticket=${body.ticket}`, withCredentials }
        )
      }
      for (const withCredentials of [false, true]) {
        t.equal(
          await opens(page, withCredentials),
          true,
          'an origin of CORS_ORIGINS opens an EventSource with a ticket'
        )
        t.equal(
          await opens(refused, withCredentials),
          false,
          'another origin does not, with a ticket or without'
        )
      }

      const secure = await tabsOf(t, browser, shop, null, 'https://secure.example.test')
      const blocked = await secure.context.newPage()
      await blocked.goto('https://secure.example.test/page')
      await blocked.evaluate(() => {
        window.inbox = window.Bellwire.createInbox({
          url: 'http://notify.example.test',
          token: 'a'
        })
      })
      await blocked.waitForFunction(() => window.inbox.state.error)
      t.match(
        await blocked.evaluate(() => window.inbox.state.error!.message),
        'an https page needs an https url'
      )
    }
  )

  t.test(
    'an expiring token is renewed in time, and a revoked one is replaced',
    { buffered: true },
    async (t) => {
      let given = 0
      const tabs = await tabsOf(t, browser, service, () => {
        given++
        const now = Math.floor(Date.now() / 1000)
        return jwt({ sub: 'brief', iat: now, exp: now + 4 })
      })
      const page = await tabs.open()
      let sent = 0
      await eventually(async () => {
        await publish(service, { to: { user: 'brief' }, title: `n${sent++}` })
        return tabs.asked() >= 3
      })
      await untilHeard(page, sent)
      t.same(await page.evaluate(() => window.statuses), ['live'], 'nobody noticed')
      t.ok(given <= tabs.asked() + 1, 'asked for once, whoever waits for it')
      await call('DELETE', `${service.url}/v1/users/brief/connections`, { key: PUBLISH_KEY })
      await eventually(async () => (await page.evaluate(() => window.statuses)).length === 3)
      await publish(service, { to: { user: 'brief' }, title: `n${sent++}` })
      await untilHeard(page, sent)
      t.same(await heard(page), numbered(0, sent))
      t.same(await page.evaluate(() => window.statuses), ['live', 'connecting', 'live'])
    }
  )

  t.test(
    'offline marks show at once and are sent when the network returns',
    { buffered: true },
    async (t) => {
      const tabs = await tabsOf(t, browser, service, () => tokenOf('away'))
      const page = await tabs.open()
      for (const title of ['a', 'b', 'c']) await publish(service, { to: { user: 'away' }, title })
      await untilHeard(page, 3)
      await tabs.context.setOffline(true)
      await page.waitForFunction(() => window.inbox.status === 'offline')
      await page.evaluate(() => {
        const [c, b] = window.inbox.items
        void window.inbox.read(b!.id)
        void window.inbox.archive(c!.id)
      })
      t.same(await titles(page), ['b', 'a'])
      t.same(await counts(page), { unread: 1, unseen: 1 })
      await publish(service, { to: { user: 'away' }, title: 'd' })
      await tabs.context.setOffline(false)
      await page.waitForFunction(() => window.inbox.status === 'live')
      await untilHeard(page, 4)
      const stored = async (): Promise<string[]> => {
        const { body } = await call('GET', `${service.url}/v1/inbox`, { key: tokenOf('away') })
        return body.items.map(
          (item: { title: string; readAt: string | null }) =>
            `${item.title}${item.readAt ? ' read' : ''}`
        )
      }
      await eventually(async () => (await stored()).join() === 'd,b read,a')
      t.same(await titles(page), ['d', 'b', 'a'])
      t.same(await counts(page), { unread: 2, unseen: 2 })
    }
  )

  t.test(
    'a reload keeps its position and the marks not yet sent',
    { buffered: true },
    async (t) => {
      const tabs = await tabsOf(t, browser, service, () => tokenOf('again'))
      const page = await tabs.open()
      for (const title of ['a', 'b']) await publish(service, { to: { user: 'again' }, title })
      await untilHeard(page, 2)
      await tabs.context.route('**/v1/inbox/read', (route) => route.abort())
      await page.evaluate(() => void window.inbox.readAll())
      t.same(await counts(page), { unread: 0, unseen: 0 })
      await page.goto('about:blank')
      await publish(service, { to: { user: 'again' }, title: 'c' })
      await tabs.context.unroute('**/v1/inbox/read')
      const asking = tabs.context.waitForEvent('request', (request) =>
        request.url().includes('/v1/stream')
      )
      await page.goBack()
      t.ok(new URL((await asking).url()).searchParams.get('since'), 'resumes at its cursor')
      await untilHeard(page, 1)
      t.same(await heard(page), ['c'], 'what came meanwhile, and not what it knew')
      await eventually(async () => {
        const { body } = await call('GET', `${service.url}/v1/inbox/counts`, {
          key: tokenOf('again')
        })
        return body.unread === 1
      })
      t.same(await titles(page), ['c', 'b', 'a'])
      await eventually(async () => (await counts(page)).unread === 1)

      const forgetful = await tabs.open({ storage: false, topics: [] })
      await forgetful.reload()
      await forgetful.waitForFunction(() => window.inbox.items.length === 3)
      t.same(await heard(forgetful), [], 'a fresh page is no news')
    }
  )

  t.test(
    'with cookies, the next user never sees the previous user’s inbox',
    { buffered: true },
    async (t) => {
      const tabs = await tabsOf(t, browser, service, null)
      const signIn = (user: string): Promise<void> =>
        tabs.context.addCookies([{ name: 'session', value: tokenOf(user), url: service.url }])
      await signIn('first')
      await publish(service, { to: { user: 'first' }, title: 'secret' })
      const asked: string[] = []
      tabs.context.on('request', (request) => {
        if (request.url().includes('/v1/')) asked.push(new URL(request.url()).pathname)
      })
      const page = await tabs.open()
      t.same(asked, ['/v1/changes', '/v1/stream'], 'who it is, once, and then the stream')
      t.same(await page.evaluate(() => window.statuses), ['live'], 'nothing holds streams back')
      await eventually(async () => (await titles(page)).length === 1)
      await signIn('second')
      await publish(service, { to: { user: 'second' }, title: 'mine' })
      await page.addInitScript(() => {
        addEventListener('DOMContentLoaded', () => {
          window.inbox.subscribe(({ items }) =>
            window.statuses.push(...items.map(({ title }) => title!))
          )
        })
      })
      await page.reload()
      await eventually(async () => (await titles(page)).join() === 'mine')
      t.notOk((await page.evaluate(() => window.statuses)).includes('secret'), 'not for a moment')
      // The same when the page stays and only the cookie changes.
      await signIn('first')
      await page.evaluate(() => dispatchEvent(new Event('online')))
      await eventually(async () => (await titles(page)).join() === 'secret')
      t.equal(await page.evaluate(() => window.inbox.state.user), 'first')
      await eventually(() =>
        page.evaluate(() => JSON.stringify({ ...sessionStorage }).includes('secret'))
      )
      await page.evaluate(() => window.inbox.close({ forget: true }))
      t.same(
        await page.evaluate(() => [Object.keys(sessionStorage), window.inbox.items]),
        [[], []],
        'signed out, all is forgotten'
      )
      // A machine that starves the service of CPU makes it say so.
      const log = service.output().replace(/^.*"status changed from .*$/gm, '')
      t.notMatch(log, /"level":(40|50)/, 'and the service has no error to report')
    }
  )

  t.test(
    'a device clock an hour off hides no valid item and shows no expired one',
    { buffered: true },
    async (t) => {
      for (const [user, minutes] of Object.entries({ ahead: 60, behind: -60 })) {
        const tabs = await tabsOf(t, browser, service, () => tokenOf(user))
        await tabs.context.addInitScript((ms) => {
          const { now } = Date
          Date.now = () => now() + ms
        }, minutes * 60_000)
        const [page, other] = [await tabs.open(), await tabs.open()]
        await publish(service, { to: { user }, title: 'stays', ttl: 600 })
        await publish(service, { to: { user }, title: 'goes', ttl: 1 })
        for (const tab of [page, other]) {
          await untilHeard(tab, 2)
          await eventually(
            async () => (await titles(tab)).join() === 'stays' && (await counts(tab)).unread === 1
          )
        }
        await page.reload()
        await page.waitForFunction(() => window.inbox.status === 'live')
        t.same([await titles(page), await counts(page)], [['stays'], { unread: 1, unseen: 1 }])
      }
    }
  )

  t.test('any text arrives unchanged and is rendered as text', { buffered: true }, async (t) => {
    const poison = [
      '</script><script>window.poisoned = true</script>',
      '<img src=x onerror="window.poisoned = true">',
      'two\r\ndata: forged\n\nevent: reset\rid: 0\n',
      'line\u2028and paragraph\u2029 separators, \u0000 NUL, \u202e turned, \ufeff mark',
      '\ud83d\udc69\u200d\ud83d\ude80 família Ελλάδα 日本',
      '{"__proto__":{"polluted":true}}'
    ]
    const tabs = await tabsOf(t, browser, service, () => tokenOf('poison'))
    const [page, other] = [await tabs.open(), await tabs.open()]
    for (const body of poison)
      await publish(service, { to: { user: 'poison' }, title: 'p', body, data: { body } })
    for (const tab of [page, other]) {
      await untilHeard(tab, poison.length)
      const shown = await tab.evaluate(() => {
        for (const { body } of window.inbox.items)
          document.body.append(Object.assign(document.createElement('p'), { textContent: body! }))
        return window.inbox.items.map(({ body, data }) => [body, data!['body']])
      })
      t.same(
        shown,
        [...poison].reverse().map((body) => [body, body])
      )
      t.notOk(await tab.evaluate(() => 'poisoned' in window || 'polluted' in {}))
    }
  })

  t.test(
    'after a user is erased, open tabs show only shared notifications',
    { buffered: true },
    async (t) => {
      const tabs = await tabsOf(t, browser, service, () => tokenOf('erased', ['shared']))
      const [page, other] = [await tabs.open(), await tabs.open()]
      await publish(service, { to: { user: 'erased' }, title: 'mine' })
      await publish(service, { to: { topic: 'shared' }, title: 'for all' })
      for (const tab of [page, other]) await untilHeard(tab, 2)
      await page.evaluate(() => window.inbox.readAll())
      await call('DELETE', `${service.url}/v1/users/erased`, { key: PUBLISH_KEY })
      for (const tab of [page, other]) {
        await eventually(
          async () => (await titles(tab)).join() === 'for all' && (await counts(tab)).unread === 1
        )
      }
    }
  )
})
