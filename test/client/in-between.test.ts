import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'tap'
import { errorOf } from '../../src/client/error.ts'
import { createInbox, type Inbox, type InboxOptions } from '../../src/client/index.ts'
import { eventually } from '../fixtures/eventually.ts'
import { jwt } from '../fixtures/jwt.ts'
import {
  call,
  PUBLISH_KEY,
  publish,
  type Service,
  startService,
  tokenOf
} from '../service/harness.ts'

// The SDK connects only in a page; these tests pretend to be one.
Object.assign(globalThis, { window: globalThis })

type Teardown = { teardown(fn: () => unknown): void }
type Answer = readonly [status: number, headers: Record<string, string>, body: string]

const HTML = { 'content-type': 'text/html; charset=utf-8' }
const FIREWALL: Answer = [403, HTML, '<!doctype html>\n<html><title>Request blocked</title></html>']

interface Between {
  readonly url: string
  /** Method and path of each request, in order. */
  readonly asked: string[]
  /** Answers the next requests for this path itself, one answer each. */
  readonly answers: Map<string, Answer[]>
  /** Cuts all connections. */
  cut(): void
}

/**
 * A proxy between page and service: forwards requests, with a cookie if given, and answers some
 * itself.
 */
async function between(
  t: Teardown,
  service: Pick<Service, 'url'>,
  cookie?: () => string
): Promise<Between> {
  const asked: string[] = []
  const answers = new Map<string, Answer[]>()
  const server = http.createServer((request, response) => {
    const path = request.url!.split('?')[0]!
    asked.push(`${request.method} ${path}`)
    const own = answers.get(path)?.shift()
    if (own) {
      const [status, headers, body] = own
      response.writeHead(status, headers).end(body)
      return
    }
    const { host: _host, ...headers } = request.headers
    const passed = http.request(`${service.url}${request.url}`, {
      method: request.method!,
      agent: false,
      headers: { ...headers, ...(cookie && { cookie: `session=${cookie()}`, origin: service.url }) }
    })
    passed.on('response', (answer) => {
      response.writeHead(answer.statusCode!, answer.headers)
      answer.pipe(response)
    })
    passed.on('error', () => response.destroy())
    response.on('close', () => passed.destroy())
    request.pipe(passed)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    answers,
    cut: () => server.closeAllConnections()
  }
}

interface Watched {
  readonly inbox: Inbox
  readonly statuses: string[]
  readonly codes: string[]
  readonly heard: string[]
}

function open(t: Teardown, { url }: Pick<Service, 'url'>, options: InboxOptions): Watched {
  const inbox = createInbox({ url, ...options })
  t.teardown(() => inbox.close())
  const [statuses, codes, heard]: [string[], string[], string[]] = [[], [], []]
  inbox.on('status', (status) => statuses.push(status))
  inbox.on('notification', ({ item }) => heard.push(item.title!))
  inbox.subscribe(({ error }) => {
    const { code } = (error ?? {}) as { code?: string }
    if (code && codes.at(-1) !== code) codes.push(code)
  })
  return { inbox, statuses, codes, heard }
}

const live = (inbox: Inbox): Promise<void> => eventually(() => inbox.status === 'live')
const titles = (inbox: Inbox): string => inbox.items.map(({ title }) => title).join()

test('a page recovers from every temporary failure', async (t) => {
  // In parallel: the subtests mostly wait for pauses, and each has its own user.
  t.jobs = 3
  const service = await startService(t)
  const bulk = async (to: object, n: number): Promise<void> => {
    const notifications = Array.from({ length: n }, (_, i) => ({ to, type: 't', title: `${i}` }))
    await call('POST', `${service.url}/v1/notifications/batch`, {
      key: PUBLISH_KEY,
      body: { notifications }
    })
  }

  t.test(
    'an invalid result of the token function is asked for again and not reported as a network error',
    { buffered: true },
    async (t) => {
      const wrong: (() => unknown)[] = [
        () => {
          throw new Error('our backend is away')
        },
        () => '<!doctype html>\n<html>',
        () => ({ token: tokenOf('u1') }),
        () => undefined
      ]
      let asked = 0
      const token = (): string =>
        (asked < wrong.length ? wrong[asked++]!() : `${tokenOf('u1')}\n`) as string
      const { inbox, statuses, codes } = open(t, service, { token })
      const messages: string[] = []
      inbox.subscribe(({ error }) => messages.push(error?.message ?? ''))
      await eventually(() => inbox.status === 'live')
      t.same([statuses, codes], [['live'], ['token']])
      t.ok(messages.includes('no token: "<!doctype html>\\n<htm"'), 'how it begins', { messages })
      t.equal(asked, wrong.length)
      const fixed = open(t, service, { token: 'not a token', user: 'u1' })
      await eventually(() => fixed.codes.includes('token'))
    }
  )

  t.test(
    'a firewall’s block page ends nothing: neither the stream, a mark nor the token',
    { buffered: true },
    async (t) => {
      const proxy = await between(t, service)
      let tokens = 0
      const { inbox, statuses } = open(t, proxy, {
        token: () => {
          tokens++
          return tokenOf('blocked')
        }
      })
      await live(inbox)
      const login: Answer = [401, { 'content-type': 'application/json' }, '{"message":"log in"}']
      proxy.answers.set('/v1/stream', [FIREWALL, login])
      proxy.answers.set('/v1/inbox/read', [
        FIREWALL,
        [200, HTML, 'Welcome to this hotel'],
        [200, { 'content-type': 'application/json' }, '{}']
      ])
      await publish(service, { to: { user: 'blocked' }, title: 'a' })
      await eventually(() => inbox.items.length === 1)
      proxy.cut()
      const marked = inbox.readAll()
      await live(inbox)
      await publish(service, { to: { user: 'blocked' }, title: 'b' })
      await eventually(() => inbox.items.length === 2)
      t.notOk(statuses.includes('unauthorized'))
      await marked
      t.equal(
        (await call('GET', `${service.url}/v1/inbox/counts`, { key: tokenOf('blocked') })).body
          .unread,
        1
      )
      t.equal(tokens, 1, 'not a word of the service about the token')
      t.equal(proxy.answers.get('/v1/inbox/read')!.length, 0)
    }
  )

  t.test('Retry-After is honoured, up to two minutes', { buffered: true }, async (t) => {
    const proxy = await between(t, service)
    const busy: Answer = [503, { ...HTML, 'retry-after': '2' }, 'busy']
    proxy.answers.set('/v1/stream', [busy])
    const startedAt = performance.now()
    const { inbox, codes } = open(t, proxy, { token: tokenOf('patient') })
    await live(inbox)
    t.ok(performance.now() - startedAt >= 2000)
    t.same([codes, proxy.asked], [['status-503'], ['GET /v1/stream', 'GET /v1/stream']])
    const asksFor = async (seconds: string): Promise<number | undefined> =>
      (await errorOf(new Response('', { status: 503, headers: { 'retry-after': seconds } })))
        .retryAfterMs
    t.equal(await asksFor('86400'), 120_000)
    t.equal(await asksFor('Fri, 31 Dec 1999 23:59:59 GMT'), undefined, 'the usual delays')
  })

  t.test(
    'a renewed token with other topics loads another list, on streams and polls',
    { buffered: true },
    async (t) => {
      for (const title of ['b1', 'a1', 'b2'])
        await publish(service, { to: { topic: title[0] }, title })
      const renewed = async (blocked: boolean): Promise<void> => {
        const proxy = await between(t, service)
        // Every stream is refused, so the page polls.
        if (blocked) proxy.answers.set('/v1/stream', Array(99).fill(FIREWALL))
        let topics = ['a']
        const { inbox, heard } = open(t, proxy, {
          token: () =>
            jwt({ sub: `topics-${blocked}`, topics, exp: Math.floor(Date.now() / 1000) + 4 })
        })
        await eventually(() => inbox.status === (blocked ? 'polling' : 'live'))
        t.equal(titles(inbox), 'a1')
        topics = ['a', 'b']
        await eventually(() => titles(inbox) === 'b2,a1,b1')
        t.same([inbox.counts, inbox.state.hasMore], [{ unread: 3, unseen: 3 }, false])
        t.same(heard, [], 'what is old is no news')
      }
      await Promise.all([renewed(false), renewed(true)])
    }
  )

  t.test(
    'with cookies a page has the requested size, and `more` is exact',
    { buffered: true },
    async (t) => {
      await bulk({ user: 'pages' }, 120)
      await bulk({ user: 'exact' }, 50)
      const sizes: [user: string, pageSize: number, more: boolean][] = [
        ['pages', 50, true],
        ['pages', 5, true],
        ['pages', 100, true],
        ['exact', 50, false],
        ['exact', 49, true]
      ]
      for (const [user, pageSize, more] of sizes) {
        const proxy = await between(t, service, () => tokenOf(user))
        const { inbox, statuses } = open(t, proxy, { pageSize })
        await live(inbox)
        t.same([inbox.items.length, inbox.state.hasMore], [pageSize, more], `${user}, ${pageSize}`)
        t.same([statuses, proxy.asked], [['live'], ['GET /v1/changes', 'GET /v1/stream']])
        if (pageSize !== 50 || !more) continue
        t.same([await inbox.loadMore(), inbox.items.length], [true, 100])
        t.same([await inbox.loadMore(), inbox.items.length], [false, 120])
      }
    }
  )

  t.test(
    'a polling page shows nothing of another user who signs in meanwhile',
    { buffered: true },
    async (t) => {
      let user = 'first'
      const proxy = await between(t, service, () => tokenOf(user))
      proxy.answers.set('/v1/stream', Array(99).fill(FIREWALL))
      const { inbox } = open(t, proxy, {})
      for (const to of ['first', 'second']) await publish(service, { to: { user: to }, title: to })
      await eventually(() => inbox.status === 'polling' && titles(inbox) === 'first')
      const shown: string[] = []
      inbox.subscribe((state) => shown.push(`${state.user}: ${titles(inbox)}`))
      user = 'second'
      await publish(service, { to: { users: ['first', 'second'] }, title: 'both' })
      await eventually(() => titles(inbox) === 'both,second')
      const mixed = shown.filter(
        (one) => !['first: first', 'null: ', 'second: second', 'second: both,second'].includes(one)
      )
      t.same([inbox.state.user, mixed], ['second', []])
    }
  )
})
