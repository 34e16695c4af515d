import { once } from 'node:events'
import http from 'node:http'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import {
  call,
  connectionsOf,
  MONITOR_KEY,
  NODE_FLAGS,
  openStream,
  PUBLISH_KEY,
  publish,
  rawPeer,
  requestHead,
  startService,
  tokenOf
} from './harness.ts'

/** A session lookup that answers when the test says so. */
async function application() {
  const asked: http.ServerResponse[] = []
  const server = http
    .createServer((_request, response) => asked.push(response))
    .listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { asked, url: `http://127.0.0.1:${(server.address() as { port: number }).port}/` }
}

async function asker(detach: 'on' | 'off') {
  const app = await application()
  const env = { AUTH_JWT_SECRET: '', AUTH_SESSION_URL: app.url }
  return { app, service: await startService(t, { env, flags: NODE_FLAGS[detach] }) }
}
type Asker = Awaited<ReturnType<typeof asker>>
const [asking, askingToo] = (await Promise.all((['on', 'off'] as const).map(asker))) as [
  Asker,
  Asker
]
const open = await startService(t, { env: { NODE_ENV: 'development', LOG_LEVEL: 'trace' } })

for (const detach of ['on', 'off'] as const)
  t.test(
    `a peer that leaves while the application is asked who it is opens nothing (socket detached: ${detach})`,

    async (t) => {
      const { app, service } = detach === 'on' ? asking : askingToo
      const ask = async (): Promise<boolean> => {
        app.asked.length = 0
        const peers = await Promise.all(
          Array.from({ length: 30 }, (_, n) =>
            rawPeer(t, service, requestHead('/v1/stream', undefined, [`cookie: sid=${n}`]))
          )
        )
        await eventually(() => app.asked.length === peers.length)
        for (const peer of peers.slice(1)) peer.socket.resetAndDestroy()
        // When a request sent later is answered, the service has received all of them.
        await connectionsOf(service)
        await connectionsOf(service)
        for (const [n, response] of app.asked.entries()) response.end(`{"user":"u${n}"}`)
        return /event: ready/.test(await peers[0]!.until(/event: (ready|goodbye)/))
      }
      // On a busy machine the lookup may take longer than the service waits for it: ask again.
      let before = 0
      for (let n = 0; n < 9; n++) {
        before = service.output().length
        if (await ask()) break
      }
      await eventually(async () => (await connectionsOf(service)).active === 1)
      t.equal((await connectionsOf(service)).opened, 1, 'nobody who left')
      t.notMatch(service.output().slice(before), /"level":[56]0/)
    }
  )

t.test(
  'if the session lookup fails, a stream gets a retry time and other requests get 503',

  async (t) => {
    const { app, service } = asking
    app.asked.length = 0
    const headers = { cookie: 'sid=in-trouble' }
    const answer = async (status: number): Promise<void> => {
      await eventually(() => app.asked.length > 0)
      app.asked.shift()!.writeHead(status).end()
    }
    const [stream] = await Promise.all([
      openStream(t, `${service.url}/v1/stream`, { headers }),
      answer(500)
    ])
    t.equal(stream.status, 200)
    t.match(await stream.until(() => true), { event: 'goodbye', data: { reason: 'unavailable' } })
    t.ok(stream.retries[0]! >= 5_000)
    await stream.ended
    const [inbox] = await Promise.all([
      call('GET', `${service.url}/v1/inbox`, { headers }),
      answer(500)
    ])
    t.equal(inbox.status, 503)
    t.ok(inbox.headers.get('retry-after'))
    const [refused] = await Promise.all([
      openStream(t, `${service.url}/v1/stream`, { headers }),
      answer(401)
    ])
    t.equal(refused.status, 401)
  }
)

t.test(
  'a reconnect with fewer topics reads fewer, and a forbidden topic reveals nothing about its use',

  async (t) => {
    const service = open
    const before = await openStream(t, `${service.url}/v1/stream`, {
      token: tokenOf('u1', ['news', 'secret'])
    })
    const { id } = await before.until((f) => f.event === 'ready')
    before.close()
    for (const topic of ['news', 'secret', 'news'])
      await publish(service, { to: { topic }, title: topic })
    const last = await publish(service, { to: { user: 'u1' }, title: 'mine' })
    const token = tokenOf('u1', ['news'])
    const after = await openStream(t, `${service.url}/v1/stream?since=${id}`, { token })
    await after.until((f) => f.data.item?.id === last.body.id)
    const titles = after.frames
      .filter((f) => f.event === 'notification')
      .map((f) => f.data.item.title)
    t.strictSame(titles, ['news', 'news', 'mine'])
    const poll = await call('GET', `${service.url}/v1/changes?since=${id}`, { key: token })
    t.notMatch(poll.text, /secret/)

    const refusals = await Promise.all(
      ['secret', 'unused'].flatMap((topic) =>
        ['stream', 'changes', 'inbox'].map(async (route) => {
          const { status, body } = await call('GET', `${service.url}/v1/${route}?topics=${topic}`, {
            key: token
          })
          return JSON.stringify([status, { ...body, requestId: '' }]).replaceAll(topic, 'it')
        })
      )
    )
    t.equal(new Set(refusals).size, 1)
    t.match(refusals[0], /^\[403,/)
  }
)

t.test('a compressed request body is refused, not inflated', async (t) => {
  const service = open
  const bomb = gzipSync(Buffer.alloc(20_000_000, ' '), { level: 9 })
  for (const body of [bomb, gzipSync('{"to":{"user":"u1"},"type":"t"}')]) {
    const response = await fetch(`${service.url}/v1/notifications`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${PUBLISH_KEY}`,
        'content-type': 'application/json',
        'content-encoding': 'gzip'
      },
      body
    })
    t.ok([400, 413, 415].includes(response.status), `${response.status}`)
  }
})

t.test('the demo page runs only its own scripts and renders user input as text', async (t) => {
  const keys = { PUBLISH_KEYS: '', MONITOR_KEYS: '', AUTH_JWT_SECRET: '' }
  const service = await startService(t, { env: { NODE_ENV: 'development', ...keys } })
  const page = await call('GET', `${service.url}/demo`)
  const policy = page.headers.get('content-security-policy') ?? ''
  t.match(policy, /default-src 'none'; script-src 'self'/)
  t.notMatch(policy, /unsafe|\*/)
  t.notMatch(page.text, /<script(?![^>]*\bsrc=)|\son\w+=|javascript:/i)
  t.match(policy, /require-trusted-types-for 'script'/)
  for (const file of ['demo', 'panel', 'row', 'send', 'toasts', 'backend']) {
    const script = await call('GET', `${service.url}/demo/${file}.js`)
    t.equal(script.status, 200)
    t.notMatch(
      script.text,
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/
    )
  }
})

t.test(
  'user names as identity providers issue them work for publish, read, revoke and erase',
  async (t) => {
    const service = open
    for (const user of ['auth0|64ab0c1d', 'ann+alerts@example.com', 'a=b~c']) {
      const key = tokenOf(user)
      const published = await call('POST', `${service.url}/v1/notifications`, {
        key: PUBLISH_KEY,
        body: { to: { user }, type: 't' }
      })
      t.equal(published.status, 201, user)
      const inbox = await call('GET', `${service.url}/v1/inbox`, { key })
      t.equal(inbox.body.items[0].id, published.body.id)
      t.equal(
        (await call('POST', `${service.url}/v1/tickets`, { key: PUBLISH_KEY, body: { user } }))
          .status,
        201
      )
      const rows = await call(
        'GET',
        `${service.url}/monitor/connections?user=${encodeURIComponent(user)}`,
        { key: MONITOR_KEY }
      )
      t.equal(rows.status, 200)
      for (const path of [encodeURIComponent(user), user.replaceAll('|', '%7c')]) {
        const at = `${service.url}/v1/users/${path}`
        t.equal((await call('DELETE', `${at}/connections`, { key: PUBLISH_KEY })).status, 200, path)
        t.equal((await call('DELETE', at, { key: PUBLISH_KEY })).status, 204, path)
      }
    }
    const { status, body } = await call('POST', `${service.url}/v1/notifications`, {
      key: PUBLISH_KEY,
      body: { to: { user: 'a b' }, type: 't' }
    })
    t.equal(status, 422)
    t.match(
      body.detail,
      /\/to\/user must be 1–128 characters of .*\| \+ = ~/,
      'a refusal names the characters'
    )
  }
)

t.test(
  'names such as constructor and __proto__ are ordinary names, and no input breaks a log line',

  async (t) => {
    const service = open
    const begin = service.output().length
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty']
    for (const name of names) {
      const token = tokenOf(name, names)
      const stream = await openStream(t, `${service.url}/v1/stream`, { token })
      t.match((await stream.until((f) => f.event === 'ready')).data, {
        user: name,
        counts: { unread: 0 }
      })
      const mine = await publish(service, { to: { user: name }, title: 'mine', key: name })
      t.match(await stream.until((f) => f.data.item?.id === mine.body.id), {
        data: { counts: { unread: 1 } }
      })
      const shared = await publish(service, {
        to: { topic: name },
        title: 'shared',
        ephemeral: true
      })
      await stream.until((f) => f.data.item?.id === shared.body.id)
      t.match(
        await call('DELETE', `${service.url}/v1/users/${name}/connections`, { key: PUBLISH_KEY }),
        {
          status: 200,
          body: { closed: 1 }
        }
      )
      await stream.ended
    }
    await call('GET', `${service.url}/%0a%7b%22level%22:60%7d`, {
      headers: { 'x-request-id': 'a"b' }
    })
    await call('POST', `${service.url}/v1/notifications`, {
      key: PUBLISH_KEY,
      body: '{"to":\n"\\n{\\"level\\":60}"'
    })
    const peer = await rawPeer(t, service, `GET /\x0b{"level":60} HTTP/1.1\r\nhost: x\r\n\r\n`)
    await peer.until(/^HTTP\/1\.1 400/)
    await service.kill('SIGTERM')
    for (const line of service.output().slice(begin).trim().split('\n'))
      t.ok(JSON.parse(line).level < 60)
  }
)
