import { test } from 'tap'
import { REMEMBERED_DEPARTURES, REMEMBERED_TRACES } from '../../src/core/limits.ts'
import { type Fate, judge, type Reading, Traces } from '../../src/core/traces.ts'

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
  t.equal(verdict([reading({ closedAt: 3000, reason: 'gone' })]), 'written', 'also where they have left since')
  t.equal(verdict([reading({ place: 6 })]), 'behind', 'connected, and still has to read what comes before it')
  t.equal(verdict([reading({ place: 6, closedAt: 3000, reason: 'gone' })]), 'not_connected', 'left before they got that far')
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

test('memory is bounded: the oldest is forgotten', async (t) => {
  const traces = new Traces()
  for (let n = 0; n < REMEMBERED_DEPARTURES + 5; n++) traces.departed(reading({ connection: `node-${n}`, user: `u${n % 10}` }))
  t.equal(traces.departures('u3').length, REMEMBERED_DEPARTURES / 10)
  t.equal(traces.departures('u3').at(0)?.connection, 'node-13')
  for (let n = 0; n < REMEMBERED_TRACES + 1; n++) {
    const publication = { id: `n${n}`, to: NEWS, producer: 'app', createdAt: n, ephemeral: false, content: '{}' }
    traces.accepted(publication as unknown as Parameters<Traces['accepted']>[0], 1)
  }
  t.equal(traces.sighting('n0'), undefined)
  t.match(traces.sighting('n1'), { producer: 'app', durableAfterMs: 1, acceptedAt: 1 })
})
