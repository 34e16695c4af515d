import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Test, test } from 'tap'
import { importFrom } from '../../src/commands/import.ts'
import type { Tally } from '../../src/commands/tally.ts'
import { openArchiveTarget } from '../../src/stores/open-archive.ts'
import { eventually } from '../fixtures/eventually.ts'
import { jwt } from '../fixtures/jwt.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import { redisUrl, skipRedis } from '../stores/redis-server.ts'
import {
  call,
  MONITOR_KEY,
  PUBLISH_KEY,
  publish,
  runService,
  serviceEnv,
  startService,
  tokenOf
} from './harness.ts'

let drawn = 0
const READERS = [
  ['ann', ['news', 'ops']],
  ['bob', ['news']],
  ['cid', []]
] as const

interface Item {
  readonly id: string
  readonly cursor?: string
}

/** What each subscriber sees, without cursors: those belong to one log. */
async function inboxes(service: { url: string }): Promise<unknown> {
  const pages: Record<string, unknown> = {}
  for (const [user, topics] of READERS) {
    for (const status of ['all', 'unread', 'archived']) {
      const { body } = await call('GET', `${service.url}/v1/inbox?limit=100&status=${status}`, {
        key: tokenOf(user, [...topics])
      })
      pages[`${user} ${status}`] = {
        counts: body.counts,
        items: body.items.map(({ cursor: _, ...item }: Item) => item)
      }
    }
  }
  return pages
}

/** Publishes a little of everything; returns the last notification with the key `deploy`. */
async function fill(service: {
  url: string
}): Promise<{ keyed: string; recalled: string; latest: string }> {
  const ids: string[] = []
  const send = async (
    notification: Record<string, unknown>,
    headers: Record<string, string> = {}
  ): Promise<string> => {
    const { status, body } = await publish(service, notification, headers)
    if (status !== 201) throw new Error(`${status} ${JSON.stringify(body)}`)
    ids.push(body.id)
    return body.id
  }
  const ann = tokenOf('ann', ['news', 'ops'])
  const mark = (op: string, body: Record<string, unknown>, token = ann) =>
    call('POST', `${service.url}/v1/inbox/${op}`, { key: token, body })
  for (let n = 0; n < 3; n++) {
    await send({
      to: { user: 'ann' },
      title: `own ${n} \u2028 "ü"`,
      data: { n, deep: { list: [1e21, null, 'x\ny'] } }
    })
    await send({ to: { users: ['bob', 'ann', 'cid'] }, body: `several ${n}` })
    await send({ to: { topic: 'news' }, title: `news ${n}`, url: '/news' })
  }
  const everyone = await send({ to: { everyone: true }, level: 'warning' })
  for (let n = 0; n < 3; n++)
    await send({ to: { users: ['ann', 'bob'] }, key: 'build:main', title: `build ${n}` })
  await send({ to: { user: 'bob' }, key: 'build:main', title: 'for bob alone' })
  await send({ to: { user: 'ann' }, ttl: 3600, title: 'for an hour' })
  await send({ to: { user: 'ann' }, ttl: 1, title: 'gone before it is moved' })
  const recalled = await send({ to: { topic: 'ops' }, title: 'recalled' })
  await call('DELETE', `${service.url}/v1/notifications/${recalled}`, { key: PUBLISH_KEY })
  const latest = await send({ to: { topic: 'ops' }, key: 'deploy', title: 'latest' })
  const keyed = await send({ to: { user: 'cid' }, title: 'once' }, { 'idempotency-key': 'once-1' })
  await mark('read', { ids: [ids[0], ids[2], everyone] })
  await mark('archive', { ids: [ids[3], ids[2]] })
  await mark('seen', {
    upTo: (await call('GET', `${service.url}/v1/inbox`, { key: ann })).body.items[4].cursor
  })
  await mark(
    'read',
    { upTo: (await call('GET', `${service.url}/v1/inbox`, { key: tokenOf('cid') })).body.cursor },
    tokenOf('cid')
  )
  await call('DELETE', `${service.url}/v1/users/eve/connections`, { key: PUBLISH_KEY })
  return { keyed, recalled, latest }
}

const lines = (file: string): string[] => readFileSync(file, 'utf8').trimEnd().split('\n')
/** Two exports of the same data hold the same lines, notifications in the same order. */
const contentOf = (file: string) => {
  const all = lines(file).slice(1)
  // Each store counts the remaining lifetime of a key itself, so it may differ by milliseconds.
  const others = all.filter((line) => !line.includes('"kind":"notification"'))
  return {
    notifications: all.filter((line) => line.includes('"kind":"notification"')),
    others: others
      .map((line) => line.replace(/("kind":"idempotency-key".*"expiresAt":"[^"]*:)[^"]*/, '$1'))
      .sort()
  }
}

test('an inbox migrates from SQLite to Redis and back with ids, order, marks, keys and expiry', {
  skip: skipRedis,
  timeout: 280_000
}, async (t) => {
  const dir = tempDir(t)
  const redis = {
    STORE: 'redis',
    REDIS_URL: await redisUrl(t),
    REDIS_PREFIX: `move${process.pid}x${++drawn}`,
    REDIS_SHARDS: '3'
  }
  const first = await startService(t)
  const { keyed, recalled, latest } = await fill(first)
  const anns = tokenOf('ann', ['news', 'ops'])
  await eventually(
    async () =>
      !(await call('GET', `${first.url}/v1/inbox`, { key: anns })).text.includes('gone before')
  )
  const before = await inboxes(first)

  const a = path.join(dir, 'a.ndjson')
  const sqlite = serviceEnv(first.dataDir)
  t.match(
    await runService(['export', a], sqlite),
    { code: 0, stderr: /^bellwire: \d+ notifications and \d+ marks exported\n$/ },
    'while the service runs'
  )
  t.match(await runService(['import', a], sqlite), {
    code: 1,
    stderr: /another process uses this data directory/
  })
  const piped = await runService(['export'], sqlite)
  t.same(
    piped.stdout.split('\n').slice(1),
    readFileSync(a, 'utf8').split('\n').slice(1),
    'without a file it goes to the standard output'
  )
  t.notMatch(piped.stdout, recalled)
  await first.kill('SIGKILL')
  t.match(await runService(['import', a], sqlite), { code: 1, stderr: /is not empty/ })

  const inRedis = serviceEnv(dir, redis)
  t.match(await runService(['import', a], inRedis), { code: 0, stderr: /imported\n$/ })
  t.match(await runService(['import', a], inRedis), { code: 1, stderr: /already holds a log/ })
  const second = await startService(t, { env: redis })
  await eventually(async () => (await call('GET', `${second.url}/readyz`)).status === 200)
  t.same(await inboxes(second), before)
  await checkBehaviour(t, second, { keyed, latest, build: 3 })
  await call('POST', `${second.url}/v1/inbox/unread`, {
    key: tokenOf('cid'),
    body: { ids: [keyed] }
  })
  const later = await inboxes(second)

  const b = path.join(dir, 'b.ndjson')
  t.match(await runService(['export', b], inRedis), {
    code: 0,
    stderr: /is running: the export may miss what changes now/
  })
  t.match(await runService(['import', b], { ...inRedis }), {
    code: 1,
    stderr: /is running: stop all nodes/
  })
  await second.kill('SIGTERM')
  t.match(await runService(['export', b], inRedis), {
    code: 0,
    stderr: /^bellwire: \d+ notifications/
  })

  const dataDir = path.join(dir, 'new')
  t.match(await runService(['import', b], serviceEnv(dataDir)), { code: 0 })
  const third = await startService(t, { dataDir })
  t.same(await inboxes(third), later)
  await checkBehaviour(t, third, { keyed, latest: undefined, build: 4 })
  const c = path.join(dir, 'c.ndjson')
  await third.kill('SIGTERM')
  const again = path.join(dir, 'again')
  t.match(await runService(['import', a], serviceEnv(again)), { code: 0 })
  t.match(await runService(['export', c], serviceEnv(again)), { code: 0 })
  t.same(contentOf(c), contentOf(a), 'an export of what was imported is the same')
})

/** What no list shows, and what must have moved as well. */
async function checkBehaviour(
  t: Test,
  service: { url: string },
  { keyed, latest, build }: { keyed: string; latest: string | undefined; build: number }
): Promise<void> {
  const repeated = await publish(
    service,
    { to: { user: 'cid' }, title: 'once' },
    { 'idempotency-key': 'once-1' }
  )
  t.equal(repeated.body.id, keyed, 'an idempotency key is still known')
  t.equal(repeated.headers.get('idempotent-replayed'), 'true')
  const revoked = jwt({
    sub: 'eve',
    iat: Math.floor(Date.now() / 1000) - 3600,
    exp: Math.floor(Date.now() / 1000) + 3600
  })
  t.equal(
    (await call('GET', `${service.url}/v1/inbox`, { key: revoked })).status,
    401,
    'who was revoked still is'
  )
  const replacing = await publish(service, {
    to: { user: 'ann' },
    key: 'build:main',
    title: 'build again'
  })
  t.equal(replacing.status, 201)
  const { body: anns } = await call('GET', `${service.url}/v1/inbox?limit=1`, {
    key: tokenOf('ann')
  })
  t.match(anns.items[0], { id: replacing.body.id, times: build })
  if (latest === undefined) return
  const trace = await call('GET', `${service.url}/monitor/notifications/${latest}`, {
    key: MONITOR_KEY
  })
  t.match(trace.body, { fate: 'stored', producer: 'tests', readers: { archived: 0 } })
  const collapsed = await publish(service, { to: { topic: 'ops' }, key: 'deploy', title: 'newer' })
  const { body } = await call('GET', `${service.url}/v1/inbox?limit=1`, {
    key: tokenOf('ann', ['ops'])
  })
  t.match(
    body.items[0],
    { id: collapsed.body.id, times: 1, replaces: latest },
    'a collapse key still finds what it replaces'
  )
}

test('an import names the invalid line and imports nothing', {
  skip: skipRedis,
  timeout: 240_000
}, async (t) => {
  const dir = tempDir(t)
  const note = (id: string, over: Record<string, unknown> = {}) =>
    JSON.stringify({
      kind: 'notification',
      id,
      to: { user: 'ann' },
      content: { type: 'a', level: 'info' },
      createdAt: '2026-01-01T00:00:00.000Z',
      producer: 'p',
      places: [{ channel: 'user:ann', times: 0 }],
      ...over
    })
  const mark = (id: string, user = 'ann') =>
    JSON.stringify({ kind: 'mark', user, id, readAt: null, archived: false })
  const head = '{"kind":"bellwire","version":1}'
  const end = (records: number) => `{"kind":"end","records":${records}}`
  const cases: Record<string, readonly [lines: readonly string[], told: RegExp]> = {
    empty: [[], /line 1: the export is truncated/],
    'not an export': [['hello'], /line 1: is not the first line/],
    'of another version': [['{"kind":"bellwire","version":2}'], /line 1: has version 2/],
    'not JSON': [[head, note('a'), '{"kind":'], /line 3: is not valid JSON/],
    'without a field': [
      [head, note('a', { content: { type: 'a' } }), end(1)],
      /line 2: content\.level/
    ],
    'with an instant that is none': [
      [head, note('a', { createdAt: 'yesterday' }), end(1)],
      /line 2: createdAt/
    ],
    'in a channel of somebody else': [
      [head, note('a', { places: [{ channel: 'user:bob', times: 0 }] }), end(1)],
      /line 2: places: user:bob/
    ],
    'a mark for nothing': [
      [head, note('a'), mark('b'), end(2)],
      /line 3: no earlier line has the notification b/
    ],
    'a mark of somebody else': [
      [head, note('a'), mark('a', 'bob'), end(2)],
      /line 3: the notification a is not for the user bob/
    ],
    'an id twice': [
      [head, note('a'), note('b'), note('a'), end(3)],
      /line 4: the notification a is in an earlier line/
    ],
    'cut off': [[head, note('a')], /line 3: the export is truncated/],
    'a line too few': [[head, note('a'), end(2)], /line 3: announces 2 records, but 1 precede it/],
    'more behind the end': [[head, note('a'), end(1), note('b')], /line 4: follows the end/]
  }
  const file = path.join(dir, 'wrong.ndjson')
  const write = (text: readonly string[]): void =>
    writeFileSync(file, text.map((line) => `${line}\n`).join(''))
  const shared = {
    dataDir: path.join(dir, 'data'),
    redisUrl: await redisUrl(t),
    redisPrefix: `wrong${process.pid}`,
    redisShards: 1,
    retentionDays: 30
  }
  for (const store of ['sqlite', 'redis'] as const) {
    const load = async (): Promise<Tally> => {
      const target = await openArchiveTarget({ ...shared, store })
      try {
        return await importFrom(target, file)
      } finally {
        await target.close()
      }
    }
    for (const [name, [text, told]] of Object.entries(cases)) {
      write(text)
      await t.rejects(load(), { message: told }, `${store}: ${name}`)
    }
    // None of them left anything behind: the store still accepts an import.
    write([head, note('a'), mark('a'), end(2)])
    t.match(await load(), { notification: 1, mark: 1 })
    await t.rejects(load(), { message: /is not empty|already holds a log/ })
  }
  write([head, note('a'), '{'])
  const env = serviceEnv(path.join(dir, 'cli'))
  t.match(await runService(['import', file], env), {
    code: 1,
    stderr: 'bellwire: line 3: is not valid JSON\n'
  })
  t.match(await runService(['export'], { ...env, STORE: 'memory' }), {
    code: 1,
    stderr: /STORE=memory keeps nothing/
  })
  t.match(await runService(['export'], serviceEnv(path.join(dir, 'nowhere'))), {
    code: 1,
    stderr: /there is no such file/
  })
  t.match(
    await runService(['export'], { ...env, STORE: 'redis', REDIS_URL: 'redis://127.0.0.1:1' }),
    {
      code: 1,
      stderr: /Redis cannot be reached/
    }
  )
})
