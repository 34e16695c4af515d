import { test } from 'tap'
import {
  type Fate,
  judge,
  type Reading,
  recipientsFor,
  rememberedTopics,
  Traces
} from '../../src/monitoring/delivery-report.ts'

const reading = (more: Partial<Reading> = {}): Reading => ({
  connection: 'node-1',
  user: 'ann',
  topics: ['news'],
  openedAt: 1000,
  closedAt: null,
  reason: null,
  place: 10,
  ...more
})
const NEWS = { topic: 'news' }
const verdict = (
  readings: readonly Reading[],
  { to = NEWS as Parameters<typeof judge>[1], fate = 'stored' as Fate } = {}
): string => judge('ann', to, fate, fate === 'stored' ? 7 : undefined, 2000, readings).verdict

test('why a user did or did not get a notification', async (t) => {
  t.equal(verdict([reading()]), 'written')
  t.equal(
    verdict([reading({ closedAt: 3000, reason: 'gone' })]),
    'written',
    'also where they have left since'
  )
  t.equal(
    verdict([reading({ place: 6 })]),
    'behind',
    'connected, and still has to read what comes before it'
  )
  t.equal(
    verdict([reading({ place: 6, closedAt: 3000, reason: 'gone' })]),
    'not_connected',
    'left before they got that far'
  )
  t.equal(verdict([]), 'not_connected')
  t.equal(verdict([reading({ topics: ['sports'] })]), 'topic_not_read')
  t.equal(verdict([reading({ topics: ['sports'] }), reading()]), 'written', 'another tab reads it')
  t.equal(verdict([reading({ topics: [] })], { to: { everyone: true } }), 'written')
  t.equal(verdict([reading()], { to: { user: 'bob' } }), 'not_addressed')
  t.equal(verdict([reading()], { to: { users: ['bob', 'ann'] } }), 'written')
  for (const fate of ['recalled', 'replaced', 'expired', 'beyond_retention'] as const)
    t.equal(verdict([reading()], { fate }), fate)
})

test('what has no place in the log was written to who was connected at that moment', async (t) => {
  const flash = { fate: 'ephemeral' as const }
  t.equal(verdict([reading()], flash), 'written')
  t.equal(verdict([reading({ openedAt: 2500 })], flash), 'not_connected', 'came later')
  t.equal(verdict([reading({ closedAt: 1500 })], flash), 'not_connected', 'left before')
  t.equal(verdict([reading({ topics: [] })], flash), 'topic_not_read')
})

const accepted = (traces: Traces, id: string, to: object): void =>
  traces.accepted(
    { id, to, producer: 'app', createdAt: 1, ephemeral: false } as Parameters<
      Traces['accepted']
    >[0],
    1
  )

test('the oldest notifications and connections are forgotten first', async (t) => {
  const traces = new Traces()
  const most = 100_000
  for (let n = 0; n < most; n++)
    traces.departed(reading({ connection: `node-${n}`, user: `u${n % 10}` }))
  const kept = traces.departures('u9')
  t.ok(kept.length > 1000 && kept.length < most / 10)
  t.equal(kept.at(-1)?.connection, `node-${most - 1}`, 'the newest is there')
  for (let n = 0; n < most; n++) accepted(traces, `n${n}`, NEWS)
  t.equal(traces.sighting('n0'), undefined)
  t.match(traces.sighting(`n${most - 1}`), { producer: 'app', durableAfterMs: 1, acceptedAt: 1 })
})

test('of many names twenty are remembered, and still it is known whether another was among them', async (t) => {
  const names = Array.from({ length: 1000 }, (_, n) => `name-${n}`)
  const { topics, hashes } = rememberedTopics(names.slice(0, 200))
  t.equal(topics.length, 20)
  t.equal(verdict([reading({ topics, hashes })], { to: { topic: 'name-199' } }), 'written')
  t.equal(verdict([reading({ topics, hashes })], { to: { topic: 'name-200' } }), 'topic_not_read')
  const traces = new Traces()
  accepted(traces, 'many', { users: names })
  const seen = traces.sighting('many')!
  t.same(seen.to, { users: names.slice(0, 20) })
  t.same(recipientsFor(seen, 'name-999'), { user: 'name-999' })
  t.equal(verdict([], { to: recipientsFor(seen, 'nobody')! }), 'not_addressed')
})
