import { once } from 'node:events'
import t, { type Test } from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import { skipOwnServer, startRedis } from '../stores/redis-server.ts'
import { rows } from '../stores/sqlite-fixtures.ts'
import {
  call,
  openStream,
  PUBLISH_KEY,
  publish,
  type Service,
  startService,
  tokenOf
} from './harness.ts'

const USERS = Array.from({ length: 1000 }, (_, n) => `u${n}`)
const long = (items: number) =>
  Array.from({ length: items }, (_, n) => ({
    to: { users: USERS },
    type: 'long',
    data: { n },
    idempotencyKey: `long-${n}`
  }))
const send = (service: Service, notifications: readonly unknown[]) =>
  call('POST', `${service.url}/v1/notifications/batch`, {
    key: PUBLISH_KEY,
    body: { notifications }
  })
const inboxOf = async (service: Service, user: string) =>
  (
    await call('GET', `${service.url}/v1/inbox?limit=100`, {
      headers: { authorization: `Bearer ${tokenOf(user)}` }
    })
  ).body

/** While a long batch runs, other requests are served; its own results and events stay in order. */
async function nobodyWaits(t: Test, service: Service): Promise<void> {
  const stream = await openStream(t, `${service.url}/v1/stream`, { token: tokenOf('u7') })
  await stream.until(({ event }) => event === 'ready')
  let over = false
  const batch = send(service, long(30)).finally(() => {
    over = true
  })
  let served = 0
  while (!over) {
    const answers = await Promise.all([
      publish(service, { to: { user: 'bob' } }),
      call('POST', `${service.url}/v1/tickets`, { key: PUBLISH_KEY, body: { user: 'bob' } })
    ])
    t.strictSame(
      answers.map(({ status }) => status),
      [201, 201]
    )
    if (!over) served++
  }
  t.ok(served >= 4, `others were served ${served} times before the batch was answered`)
  const { status, body } = await batch
  t.equal(status, 200)
  t.ok(
    body.results.length === 30 &&
      body.results.every((one: { status: number }) => one.status === 201)
  )
  await stream.until(({ data }) => data.item?.data?.n === 29)
  const told = stream.frames
    .filter(({ event }) => event === 'notification')
    .map(({ data }) => data.item.id)
  t.strictSame(
    told,
    body.results.map(({ id }: { id: string }) => id),
    'each once, in order'
  )
  const again = await send(service, long(30))
  t.strictSame(again.body.results, body.results, 'the same keys are the same notifications')
  t.equal((await inboxOf(service, 'u7')).counts.unread, 30)
}

t.test('a long batch delays no other request (SQLite)', async (t) =>
  nobodyWaits(t, await startService(t))
)

t.test('a long batch delays no other request (Redis)', { skip: skipOwnServer }, async (t) => {
  const redis = await startRedis(t, { persistence: 'none' })
  await nobodyWaits(t, await startService(t, { env: { STORE: 'redis', REDIS_URL: redis.url } }))
})

t.test(
  'after SIGTERM every item of a running batch is either stored and answered 201, or refused',
  async (t) => {
    const service = await startService(t, { env: { DRAIN_MS: '100' } })
    const exited = once(service.child, 'exit')
    const batches = [0, 1, 2, 3].map((batch) =>
      send(
        service,
        long(100).map(({ idempotencyKey: _, ...item }) => ({ ...item, data: { batch } }))
      )
    )
    await eventually(async () => (await inboxOf(service, 'u7')).counts.unread > 0)
    const began = performance.now()
    service.child.kill('SIGTERM')
    const answers = await Promise.all(batches)
    t.strictSame(await exited, [0, null])
    t.ok(performance.now() - began < 5100, 'within DRAIN_MS and five seconds')
    for (const [batch, { status, body }] of answers.entries()) {
      const stored = Number(
        rows(
          service.dataDir,
          `SELECT count(*) AS n FROM note WHERE content LIKE '%{"batch":${batch}}'`
        )[0]!['n']
      )
      if (status === 503) t.equal(stored, 0)
      else {
        const counted = (wanted: number) =>
          body.results.filter(({ status }: { status: number }) => status === wanted).length
        t.strictSame(
          [counted(201), counted(503)],
          [stored, 100 - stored],
          `${stored} of batch ${batch} are stored`
        )
      }
    }
  }
)
