import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import { connectionsOf, publish, startService, tokenOf } from '../service/harness.ts'

const firefox = ['/usr/bin/firefox-esr', '/usr/bin/firefox'].find((file) => existsSync(file))

/** Cookies and all storage blocked, and none of the requests and prompts of a fresh profile. */
const PREFERENCES = {
  'network.cookie.cookieBehavior': 2,
  'browser.aboutwelcome.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'app.update.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false
}

interface Report {
  readonly storage: string
  readonly status: string
  readonly titles: readonly string[]
}

test('Firefox with cookies blocked, where storage, channels and locks throw, still shows the inbox', {
  skip: firefox ? false : 'no Firefox found: apt-get install firefox-esr'
}, async (t) => {
  // The page reports to the test's server, so no driver is needed.
  let service = { url: '' }
  let report: Report | undefined
  const server = http.createServer(async (request, response) => {
    if (request.method === 'POST') {
      let text = ''
      for await (const chunk of request.setEncoding('utf8')) text += chunk
      report = JSON.parse(text)
      response.end()
      return
    }
    response.setHeader('content-type', 'text/html').end(`<!doctype html><title>page</title>
        <script src="${service.url}/client.js"></script>
        <script>
          let storage = 'works'
          try { sessionStorage } catch (error) { storage = error.name }
          const inbox = Bellwire.createInbox({ url: '${service.url}', token: '${tokenOf('fox')}' })
          inbox.subscribe(({ status, items }) => {
            const titles = items.map(({ title }) => title)
            fetch('/report', { method: 'POST', body: JSON.stringify({ storage, status, titles }) })
          })
        </script>`)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const started = await startService(t, { env: { CORS_ORIGINS: origin } })
  service = started

  const profile = mkdtempSync(path.join(tmpdir(), 'bellwire-'))
  // Its processes may live a moment longer and write files.
  t.teardown(() => rmSync(profile, { recursive: true, force: true, maxRetries: 10 }))
  const preferences = Object.entries(PREFERENCES).map(
    ([name, value]) => `user_pref(${JSON.stringify(name)}, ${value});`
  )
  writeFileSync(path.join(profile, 'user.js'), preferences.join('\n'))
  const child = spawn(firefox!, ['--headless', '--no-remote', '--profile', profile, `${origin}/`], {
    stdio: 'ignore',
    env: { ...process.env, HOME: profile }
  })
  t.teardown(async () => {
    if (child.exitCode === null && child.kill()) await once(child, 'exit')
    server.closeAllConnections()
    server.close()
  })
  await eventually(() => report?.status === 'live', 60_000)
  await publish(started, { to: { user: 'fox' }, title: 'a' })
  await eventually(() => report?.titles.join() === 'a')
  t.equal(report?.storage, 'SecurityError')
  t.equal((await connectionsOf(started)).active, 1)
})
