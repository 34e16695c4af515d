import { test } from 'tap'
import type { ConnectionRecord } from '../../src/cluster/node-query.ts'
import {
  DeliveryRecords,
  recipientsFor,
  rememberedTopics
} from '../../src/monitoring/delivery-records.ts'
import { explain, type Outcome } from '../../src/monitoring/delivery-report.ts'

const connection = (more: Partial<ConnectionRecord> = {}): ConnectionRecord => ({
  connection: 'node-1',
  user: 'ann',
  topics: ['news'],
  openedAt: 1000,
  closedAt: null,
  reason: null,
  seq: 10,
  ...more
})
const NEWS = { topic: 'news' }
const verdict = (
  connections: readonly ConnectionRecord[],
  { to = NEWS as Parameters<typeof explain>[1], outcome = 'stored' as Outcome } = {}
): string =>
  explain('ann', to, outcome, outcome === 'stored' ? 7 : undefined, 2000, connections).verdict

test('the report explains why a user did or did not get a notification', async (t) => {
  t.equal(verdict([connection()]), 'written')
  t.equal(
    verdict([connection({ closedAt: 3000, reason: 'gone' })]),
    'written',
    'even if they have left since'
  )
  t.equal(
    verdict([connection({ seq: 6 })]),
    'behind',
    'connected, and still has to read what comes before it'
  )
  t.equal(
    verdict([connection({ seq: 6, closedAt: 3000, reason: 'gone' })]),
    'not_connected',
    'left before they got that far'
  )
  t.equal(verdict([]), 'not_connected')
  t.equal(verdict([connection({ topics: ['sports'] })]), 'topic_not_read')
  t.equal(
    verdict([connection({ topics: ['sports'] }), connection()]),
    'written',
    'another tab reads it'
  )
  t.equal(verdict([connection({ topics: [] })], { to: { everyone: true } }), 'written')
  t.equal(verdict([connection()], { to: { user: 'bob' } }), 'not_addressed')
  t.equal(verdict([connection()], { to: { users: ['bob', 'ann'] } }), 'written')
  for (const outcome of ['recalled', 'replaced', 'expired', 'beyond_retention'] as const)
    t.equal(verdict([connection()], { outcome }), outcome)
})

test('an ephemeral notification counts as written to connections that were open at that moment', async (t) => {
  const flash = { outcome: 'ephemeral' as const }
  t.equal(verdict([connection()], flash), 'written')
  t.equal(verdict([connection({ openedAt: 2500 })], flash), 'not_connected', 'came later')
  t.equal(verdict([connection({ closedAt: 1500 })], flash), 'not_connected', 'left before')
  t.equal(verdict([connection({ topics: [] })], flash), 'topic_not_read')
})

const accepted = (records: DeliveryRecords, id: string, to: object): void =>
  records.accepted(
    { id, to, producer: 'app', createdAt: 1, ephemeral: false } as Parameters<
      DeliveryRecords['accepted']
    >[0],
    1
  )

test('the oldest delivery and connection records are forgotten first', async (t) => {
  const records = new DeliveryRecords()
  const most = 100_000
  for (let n = 0; n < most; n++)
    records.closed(connection({ connection: `node-${n}`, user: `u${n % 10}` }))
  const kept = records.closedOf('u9')
  t.ok(kept.length > 1000 && kept.length < most / 10)
  t.equal(kept.at(-1)?.connection, `node-${most - 1}`, 'the newest is there')
  for (let n = 0; n < most; n++) accepted(records, `n${n}`, NEWS)
  t.equal(records.delivery('n0'), undefined)
  t.match(records.delivery(`n${most - 1}`), { producer: 'app', durableAfterMs: 1, acceptedAt: 1 })
})

test('delivery records keep twenty of many names, and still recognise the others', async (t) => {
  const names = Array.from({ length: 1000 }, (_, n) => `name-${n}`)
  const { topics, hashes } = rememberedTopics(names.slice(0, 200))
  t.equal(topics.length, 20)
  t.equal(verdict([connection({ topics, hashes })], { to: { topic: 'name-199' } }), 'written')
  t.equal(
    verdict([connection({ topics, hashes })], { to: { topic: 'name-200' } }),
    'topic_not_read'
  )
  const records = new DeliveryRecords()
  accepted(records, 'many', { users: names })
  const seen = records.delivery('many')!
  t.same(seen.to, { users: names.slice(0, 20) })
  t.same(recipientsFor(seen, 'name-999'), { user: 'name-999' })
  t.equal(verdict([], { to: recipientsFor(seen, 'nobody')! }), 'not_addressed')
})
